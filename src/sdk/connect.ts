// Puts the parts of the SDK together: `connect` and `serve`, each with an agent or without one. The only place
// where client, server, ladder, endpoints and dispatcher meet.
import { MeshError, errorText } from '../base/errors.js';
import { checkOptions } from './check-options.js';
import { Client } from './client.js';
import type { CallDefaults } from './client.js';
import { DirectEndpoints } from './direct-endpoints.js';
import { DirectListener } from './direct-listener.js';
import { Dispatcher } from './dispatch.js';
import type { Link, LinkEvents } from './link.js';
import { Publication } from './publication.js';
import { Server } from './server.js';
import { parseHostPort, positive, resolveEndpoints, resolveSettings } from './settings.js';
import type { Settings } from './settings.js';
import { TransportLadder } from './transport-ladder.js';
import type { LadderEvents } from './transport-ladder.js';
import type { ConnectOptions, ServeOptions, TransportName } from './types.js';

const defaultTimeoutMs = 5_000;
/** An agent may have to reach its registry before it answers a publication. */
const publishTimeoutMs = 5_000;

/**
 * Connects this application to its agent.
 *
 * @returns a client; rejects with a MeshError that says what was tried, unless `lazy` is set
 * @example
 * const client = await connect();
 * const reply = await client.call('user-service', 'get', JSON.stringify({ id: 7 }), { timeoutMs: 200 });
 * console.log(reply.body.toString());
 * await client.close();
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const settings = settingsOf('connect', options);
  const defaults = callDefaults(options);
  // Without a service every request is refused, but it must be answered.
  const dispatcher = new Dispatcher({
    maxConcurrentRequests: 1,
    callersByLink: false,
    defaultTimeoutMs: defaults.timeoutMs,
    log: settings.log,
  });
  const inbound = inboundEvents(dispatcher);
  if (!settings.mesh) {
    const source = new DirectEndpoints(settings, resolveEndpoints(options.endpoints), {
      ...inbound,
      onTransport: () => undefined,
    });
    return new Client(source, settings, defaults);
  }
  const { client, ladder } = throughAgent(settings, defaults, {
    ...inbound,
    unreachable: 'no agent can be reached',
    mayFallBack: true,
    prepare: () => Promise.resolve(),
    leave: () => Promise.resolve(),
  });
  await ladder.start(options.lazy ?? false);
  return client;
}

/**
 * Serves a service: through the agent, which publishes it, or in direct mode on a port of its own.
 *
 * @returns a server once the service is published; rejects with a MeshError that says what was tried
 * @example
 * const server = await serve({
 *   service: 'user-service',
 *   methods: { get: (request) => JSON.stringify({ id: JSON.parse(request.body.toString()).id }) },
 * });
 * process.once('SIGTERM', () => void server.close());
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const settings = settingsOf('serve', options);
  const defaults = callDefaults(options);
  const dispatcher = new Dispatcher({
    maxConcurrentRequests: positive(options.maxConcurrentRequests, 10_000, 'maxConcurrentRequests'),
    callersByLink: !settings.mesh,
    defaultTimeoutMs: positive(options.defaultTimeoutMs, 60_000, 'defaultTimeoutMs'),
    log: settings.log,
  });
  dispatcher.add(options.service, options.methods);
  return settings.mesh
    ? serveThroughAgent(options, settings, dispatcher, defaults)
    : serveDirectly(options, settings, dispatcher, defaults);
}

async function serveThroughAgent(
  options: ServeOptions,
  settings: Settings,
  dispatcher: Dispatcher,
  defaults: CallDefaults,
): Promise<Server> {
  const publication = new Publication(settings.app, options);
  const { client, ladder } = throughAgent(settings, defaults, {
    ...inboundEvents(dispatcher),
    unreachable: `${options.service} is not served: no agent can be reached`,
    mayFallBack: false,
    prepare: (link) => publication.publish(link, publishTimeoutMs),
    leave: async (link) => {
      try {
        await publication.unpublish(link, settings.drainTimeoutMs);
      } catch (error) {
        settings.log('debug', `the old link's publication ended without an answer: ${errorText(error)}`, {});
      }
    },
  });
  const currentLink = (): Link | undefined => {
    const link = ladder.pick(options.service);
    return link instanceof MeshError ? undefined : link;
  };
  await ladder.start(options.lazy ?? false);
  return new Server({ settings, client, dispatcher, publication, currentLink });
}

async function serveDirectly(
  options: ServeOptions,
  settings: Settings,
  dispatcher: Dispatcher,
  defaults: CallDefaults,
): Promise<Server> {
  const inbound = inboundEvents(dispatcher);
  const listener = new DirectListener(settings, inbound);
  await listener.listen(parseHostPort(options.listen ?? '127.0.0.1:0'));
  const endpoints = resolveEndpoints(options.endpoints);
  const source = new DirectEndpoints(settings, endpoints, { ...inbound, onTransport: () => undefined });
  const client = new Client(source, settings, defaults);
  return new Server({ settings, client, dispatcher, listener });
}

function settingsOf(of: 'connect' | 'serve', options: ConnectOptions | ServeOptions): Settings {
  const unknown = checkOptions(of, options);
  const settings = resolveSettings(options);
  for (const line of unknown) if (settings.isNews(line)) settings.log('warn', line, {});
  return settings;
}

function callDefaults({ timeoutMs, waitForReady }: ConnectOptions | ServeOptions): CallDefaults {
  return {
    timeoutMs: positive(timeoutMs, defaultTimeoutMs, 'timeoutMs'),
    waitForReady: waitForReady ?? false,
  };
}

function throughAgent(
  settings: Settings,
  defaults: CallDefaults,
  events: Omit<LadderEvents, 'onTransport'>,
): { client: Client; ladder: TransportLadder } {
  const ladder = new TransportLadder(settings, {
    ...events,
    onTransport: (transport: TransportName) => client.transportChanged(transport),
  });
  const client = new Client(ladder, settings, defaults);
  return { client, ladder };
}

function inboundEvents(dispatcher: Dispatcher): Pick<LinkEvents, 'onRequest' | 'onCancel' | 'onClosed'> {
  return {
    onRequest: (link, frame) => dispatcher.onRequest(link, frame),
    onCancel: (link, idLo, idHi, status) => dispatcher.onCancel(link, idLo, idHi, status),
    onClosed: (link, reason) => dispatcher.onClosed(link, reason),
  };
}
