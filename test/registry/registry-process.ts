/**
 * A process of its own with a registry, driven by registry-processes.test.ts. `hold` registers one instance and stays;
 * `churn` registers, updates and deregisters at random, then says what it has left registered and stays.
 */
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.js';
import type { Registration } from '../../src/registry/registry.js';

const [directory = '', task = '', name = '', seed = '1', leaseMs = '1000'] = process.argv.slice(2);

let state = Number(seed);
/** Small and repeatable; quality does not matter here. */
function random(): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return state / 2 ** 32;
}

const problems: string[] = [];
const registry = await openEmbeddedRegistry({
  directory,
  leaseMs: Number(leaseMs),
  sweepMs: 50,
  maxInstances: 1_000,
  maxServices: 10,
  onProblem: (problem) => problem !== null && problems.push(problem),
});
const instance = (id: string) => ({
  id,
  service: 'orders',
  group: '',
  version: '0',
  host: '10.0.0.1',
  port: 15_101,
  weight: 100,
  zone: '',
  protocols: ['mesh/1'],
  metadata: {},
  app: name,
  epoch: 1,
});

const held = new Map<string, Registration>();
if (task === 'hold') held.set(name, await registry.register(instance(name)));
for (let step = 1; task === 'churn' && step <= 150; step++) {
  const id = `${name}-${Math.floor(random() * 6)}`;
  const registration = held.get(id);
  if (!registration) held.set(id, await registry.register(instance(id)));
  else if (random() < 0.6) await registration.update({ version: String(step) });
  else {
    await registration.deregister();
    held.delete(id);
  }
}
const left = [...held.values()].map(
  (registration) => `${registration.instance.id}@${registration.instance.version}`,
);
// Listening keeps the process alive, and ends it when the test is gone.
process.on('disconnect', () => process.exit(0));
process.send?.({ left, problems });
