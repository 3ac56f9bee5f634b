// The demo's client application: sends at a fixed rate on the path it is told, and measures each call twice, from when it was sent and from
// when it should have been sent. Paced by a native timer, because Node's own timers send late and in bursts.
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { errorText } from '../../base/errors.js';
import { startPacer } from '../../native/pacer.js';
import { connect } from '../../sdk/connect.js';
import type { Client } from '../../sdk/client.js';
import { demoPaths, serviceOf } from './messages.js';
import type { ConnectOrder, DemoPath, LoadOrder, RoundResult } from './messages.js';

const warmUpCalls = 2_000;

export async function runDemoClient(): Promise<void> {
  const clients = new Map<DemoPath, Client>();
  process.on('message', (order: ConnectOrder | LoadOrder) => {
    const done = 'connect' in order ? connectAll(clients, order.connect) : load(clients, order.load);
    done.then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ failed: errorText(error) }),
    );
  });
  await Promise.race([once(process, 'SIGTERM'), once(process, 'disconnect')]);
  await Promise.all([...clients.values()].map((client) => client.close()));
  if (process.connected) process.disconnect();
}

async function connectAll(clients: Map<DemoPath, Client>, order: ConnectOrder['connect']): Promise<object> {
  const { agent, direct } = order;
  const app = 'demo-client';
  const service = serviceOf('direct');
  clients.set('direct', await connect({ app, mesh: false, endpoints: { [service]: [direct] } }));
  clients.set('tcp', await connect({ app, agent: `tcp://127.0.0.1:${agent.loopback}`, transport: 'tcp' }));
  clients.set('shm', await connect({ app, agent: agent.socket, transport: 'shm' }));
  // The compiler of V8 and the kernel's caches settle before anything is measured.
  const body = Buffer.alloc(1024, 'x');
  for (const path of demoPaths) {
    const client = clientOf(clients, path);
    for (let i = 0; i < warmUpCalls; i++) await client.call(serviceOf(path), 'echo', body);
  }
  return { ready: true };
}

function clientOf(clients: Map<DemoPath, Client>, path: DemoPath): Client {
  const client = clients.get(path);
  if (client === undefined) throw new Error(`the client is not connected on path ${path}`);
  return client;
}

async function load(clients: Map<DemoPath, Client>, order: LoadOrder['load']): Promise<RoundResult> {
  const { path, rate, seconds, bodyBytes } = order;
  const client = clientOf(clients, path);
  const service = serviceOf(path);
  const body = Buffer.alloc(bodyBytes, 'x');
  const planned = Math.max(1, Math.round(rate * seconds));
  const fromSendUs: number[] = [];
  const fromIntendedUs: number[] = [];
  let errors = 0;
  let firstError: string | undefined;
  // performance.now() counts from another moment than the pacer's clock.
  const epochNs = Number(process.hrtime.bigint()) - performance.now() * 1e6;
  const startedMs = performance.now();

  await new Promise<void>((resolve) => {
    let sent = 0;
    let settled = 0;
    const settle = (): void => {
      if (++settled === planned) resolve();
    };
    const send = (intendedMs: number): void => {
      sent++;
      const sentMs = performance.now();
      client.call(service, 'echo', body).then(
        () => {
          const nowMs = performance.now();
          fromSendUs.push((nowMs - sentMs) * 1000);
          fromIntendedUs.push((nowMs - intendedMs) * 1000);
          settle();
        },
        (error: unknown) => {
          errors++;
          firstError ??= errorText(error);
          settle();
        },
      );
    };
    const pacer = startPacer(rate, (count, intendedNs) => {
      for (let i = 0; i < count && sent < planned; i++) {
        send((intendedNs + i * pacer.intervalNs - epochNs) / 1e6);
      }
      if (sent >= planned) pacer.stop();
    });
  });
  const tookSeconds = (performance.now() - startedMs) / 1000;
  return {
    path,
    requests: planned,
    errors,
    ...(firstError === undefined ? {} : { firstError }),
    achievedRps: planned / tookSeconds,
    fromSendUs,
    fromIntendedUs,
  };
}
