import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseAgentConfig } from '../../src/config/load-config.js';
import { openRegistry } from '../../src/registry/open-registry.js';
import { instanceOf, recorder, useRegistryDirectory } from './registry-fixture.js';

const fixture = useRegistryDirectory();

it('a registry opens as the configuration says', async () => {
  const directory = join(fixture.directory, 'made', 'on', 'the', 'way');
  const config = parseAgentConfig(`registry: {directory: ${directory}, mode: "0750"}\nlimits: {services: 1}`);
  const problems: (string | null)[] = [];
  const registry = await openRegistry(config.registry, config.limits, (problem) => problems.push(problem));
  expect(statSync(directory).mode & 0o777).toBe(0o750);
  const seen = recorder();
  registry.watch('orders', undefined, seen.listener);
  expect(() => registry.watch('stock', undefined, seen.listener)).toThrow('1 services');
  await registry.register(instanceOf());
  expect(seen.last()).toEqual(['a-1@1.0']);
  await registry.close();
  expect(problems).toEqual([]);
});
