// What one reader believes while the directory under it goes away or becomes another one.
import { mkdirSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { DirectoryView } from '../../src/registry/embedded/directory-view.js';
import { fileNameOf, writeInstanceFile } from '../../src/registry/embedded/instance-file.js';
import { ManualClock } from './manual-clock.js';
import { instanceOf, LEASE_MS, SWEEP_MS, useRegistryDirectory } from './registry-fixture.js';

const fixture = useRegistryDirectory();
const name = fileNameOf(instanceOf());
const stamp = (clock: ManualClock, phase: number) => ({ wallMs: clock.wallMs(), phase });
let clock: ManualClock;
let view: DirectoryView;

beforeEach(async () => {
  clock = new ManualClock();
  mkdirSync(fixture.directory, { recursive: true, mode: 0o700 });
  const file = { instance: instanceOf(), leaseMs: LEASE_MS };
  await writeInstanceFile(fixture.directory, file, 0o600, stamp(clock, 1));
  view = new DirectoryView(fixture.directory, clock, SWEEP_MS, 100);
  await view.scan();
  expect(live()).toEqual(['a-1']);
});

const live = (): string[] => view.liveOf('orders').map(({ id }) => id);

it('a file that is removed is an instance that left', async () => {
  unlinkSync(join(fixture.directory, name));
  await view.look([name]);
  expect(live()).toEqual([]);
});

it('a file that is missing together with its directory is waited for until its lease ends', async () => {
  renameSync(fixture.directory, `${fixture.directory}.aside`);
  await view.look([name]);
  expect(live()).toEqual(['a-1']);
  mkdirSync(fixture.directory, { mode: 0o700 });
  await view.look([name]);
  expect(live()).toEqual(['a-1']);
  expect(view.has(name)).toBe(true);
  await view.scan();
  expect(live()).toEqual(['a-1']);
  expect(view.has(name)).toBe(false);
  for (let ms = 0; ms <= LEASE_MS; ms += SWEEP_MS) {
    clock.advance(SWEEP_MS);
    await view.scan();
  }
  expect(live()).toEqual([]);
});

it('a directory that is replaced while it is read has lost nobody', async () => {
  for (let round = 0; round < 200; round++) {
    const scanning = view.scan().catch(() => undefined);
    // At another moment of the scan each time.
    for (let turn = 0; turn < round % 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    renameSync(fixture.directory, `${fixture.directory}.aside`);
    mkdirSync(fixture.directory, { mode: 0o700 });
    await scanning;
    await view.scan();
    expect(live(), `round ${round}`).toEqual(['a-1']);
    rmSync(fixture.directory, { recursive: true });
    renameSync(`${fixture.directory}.aside`, fixture.directory);
    await view.scan();
    expect(live(), `round ${round}, back again`).toEqual(['a-1']);
  }
});
