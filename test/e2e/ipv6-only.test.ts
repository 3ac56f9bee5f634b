// A host without IPv4 and a registry for many machines: others reach it by its IPv6 address, it waits for a network that comes up late, and it never
// tells anybody a loopback address. Skipped aloud where no network namespace may be made.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { RedisProcess, hasRedis } from '../support/redis-process.js';
import { V6Network } from '../support/v6-network.js';

const made = V6Network.make();
if (typeof made === 'string') console.warn(`SKIPPED: a host with IPv6 only: ${made}`);
const network = made as V6Network;

describe.skipIf(typeof made === 'string' || !hasRedis)('a host that has IPv6 only', () => {
  let redis: RedisProcess;
  let mesh: Mesh;
  let registry: AgentConfig;
  let isUp = false;

  afterAll(() => network.remove());
  beforeEach(async () => {
    redis = await RedisProcess.start(['--bind', '127.0.0.1', network.near, '--protected-mode', 'no']);
    mesh = new Mesh();
    const url = `redis://[${network.near}]:${redis.port}`;
    registry = { type: 'redis', url, leaseMs: 3_000, sweepMs: 300 };
  });
  afterEach(async () => {
    await mesh.close();
    await redis.close();
    if (isUp) network.goDown();
    isUp = false;
  });

  const comeUp = (): void => {
    network.comeUp();
    isUp = true;
  };
  /** An agent over there whose configuration says nothing about addresses but what `config` does. */
  const launch = (
    name: string,
    config: { inbound?: AgentConfig; advertise?: AgentConfig } = {},
  ): AgentProcess =>
    mesh.launch(
      name,
      {
        ...{ registry, admin: { enabled: false }, loopback: { enabled: false } },
        inbound: { host: null, ...config.inbound },
        advertise: { host: null, ...config.advertise },
      },
      { through: network.through },
    );

  it.each([
    ['by itself', {}],
    ['that listens for both families', { inbound: { host: '::' } }],
  ])('is called by others, and calls them: %s', async (_how, config) => {
    comeUp();
    const host = network.near;
    const near = await mesh.agent('near', { registry, inbound: { host }, advertise: { host } });
    const far = launch('far', config);
    await far.ready();
    const { advertised } = await far.logged('that it is ready', ({ msg }) => msg === 'the agent is ready');
    expect(advertised).toMatchObject({ host: network.host });
    await mesh.server('over-there', far, { service: 'far-service' });
    await mesh.server('over-here', near, { service: 'near-service' });
    const [here, there] = [await mesh.client('here', near), await mesh.client('there', far)];
    const who = async (client: typeof here, service: string): Promise<string> => {
      await mesh.reachable(client, service);
      return (await client.call(service, 'who')).body.toString();
    };
    expect(await who(here, 'far-service')).toBe('over-there');
    expect(await who(there, 'near-service')).toBe('over-here');
  });

  it('waits for a network that comes up later', async () => {
    const far = launch('far');
    await far.logged('that it waits', ({ msg }) => msg.startsWith('waiting for a network'));
    comeUp();
    await far.ready();
    const { advertised } = await far.logged('that it is ready', ({ msg }) => msg === 'the agent is ready');
    expect(advertised).toMatchObject({ host: network.host });
  });

  it('does not start when none comes, and names the field', async () => {
    const far = launch('far', { advertise: { waitMs: 300 } });
    expect(await far.process.over()).toEqual({ code: 1, signal: null });
    expect(far.process.stderr).toContain('advertise.host');
    expect(far.process.stderr).toContain('this machine has no address that others can reach');
    mesh.agents.splice(mesh.agents.indexOf(far), 1);

    // One address to listen on is an answer, also where only this machine reaches it.
    const loopback = launch('loopback', { inbound: { host: '::1' } });
    const { advertised } = await loopback.logged(
      'that it is ready',
      ({ msg }) => msg === 'the agent is ready',
    );
    expect(advertised).toMatchObject({ host: '::1' });
  });
});
