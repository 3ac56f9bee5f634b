// Lookup and registration as old programs know them: `/service/lookup` and `/service/moa-admin`, ordinary calls of the legacy protocol that
// every agent answers itself (docs/legacy.md). What an old server registers is kept as long as it renews it. Arguments come
// from anybody who can connect, so they are checked like any other input.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { z } from 'zod';
import { MeshError, errorText } from '../base/errors.js';
import { Gate } from '../base/gate.js';
import { joinHostPort } from '../base/join-host-port.js';
import { Status } from '../base/status.js';
import type { RegistrationState } from '../handoff/agent-state.js';
import type { EngineDirection, Verdict } from '../native/engine-commands.js';
import type { CallerPlace } from '../native/engine-events.js';
import { takesIn } from '../policy/endpoints-of.js';
import type { Header } from '../protocol/header.js';
import { emptyHeader, encodeHeader } from '../protocol/header.js';
import { LEGACY_PROTOCOL, parseInstance } from '../registry/instance.js';
import type { Instance } from '../registry/instance.js';
import type { Registration, Registry } from '../registry/registry.js';
import { whyNotRegistrable } from './registrable.js';

/** An old server renews its registration every 5 s; after three misses it is taken as gone. */
const renewedWithinMs = 15_000;
/** How long the first list of a service may take to come. */
const listTimeoutMs = 3_000;
/** After how long the registry is asked again to keep what another process registered. */
const keepAgainMs = 1_000;

const text = z.string().min(1).max(512);
const lookup = z.tuple([text, z.string().max(64)]).rest(z.unknown());
const registration = z.tuple([text, text, z.string().max(64)]).rest(z.unknown());

/** Who may register servers, and which. */
export interface RegistrationRules {
  /** On which ports, as in the configuration. */
  readonly registration: 'loopback' | 'any' | 'off';
  /** Whose servers, as in the configuration. */
  readonly networks: readonly string[] | null;
  /** Where this agent is reached; an address of this machine, too, though no interface may have it. */
  readonly advertisedHost: string;
}

/** Who asks. */
export interface Asker {
  readonly direction: EngineDirection;
  readonly place: CallerPlace;
  readonly uid: number | undefined;
}

interface Registered {
  readonly instance: Instance;
  /** Undefined where it ended before the registry took it. */
  readonly registering: Promise<Registration | undefined>;
  timer: NodeJS.Timeout;
  /** When it ends unless it is renewed, on the clock of `performance.now()`. */
  endsAtMs: number;
}

/** See the file's head. */
export class LegacyDirectory {
  readonly #registered = new Map<string, Registered>();
  /** Closed while a handoff is under way. */
  readonly #changes = new Gate();
  #pausedAtMs: number | undefined;
  #closed = false;
  /** Of the process before this one, until confirm(). */
  #adopted: readonly RegistrationState[] = [];

  constructor(
    private readonly registry: Registry,
    private readonly maxRegistrations: number,
    private readonly rules: RegistrationRules,
    private readonly onTrouble: (message: string, error: unknown) => void,
  ) {}

  /** How many old servers are registered through this agent. */
  get size(): number {
    return this.#registered.size;
  }

  /** The answer to a call of `/service/lookup` or `/service/moa-admin`; never rejects. */
  async answer(header: Header, body: Buffer, asker: Asker): Promise<Verdict> {
    try {
      const result = await this.#run(header.method, body, asker);
      return { kind: 'answer', code: Status.OK, body: Buffer.from(JSON.stringify(result)) };
    } catch (error) {
      const known = error instanceof MeshError ? error : new MeshError('INTERNAL', errorText(error));
      const statusMessage = known.message.slice(0, 1024);
      return { kind: 'answer', code: known.code, header: encodeHeader({ ...emptyHeader(), statusMessage }) };
    }
  }

  /** Lets changes that come from now on wait until resume(), and all registrations stand; resolves when none is under way. */
  async pause(): Promise<void> {
    await this.#changes.close();
    this.#pausedAtMs = performance.now();
    for (const { timer } of this.#registered.values()) clearTimeout(timer);
  }

  /** The time since pause() counts for nobody. */
  resume(): void {
    const pausedAtMs = this.#pausedAtMs;
    this.#pausedAtMs = undefined;
    if (pausedAtMs !== undefined) {
      for (const known of this.#registered.values()) this.#setEnd(known, known.endsAtMs - pausedAtMs);
    }
    this.#changes.open();
  }

  /** What a successor needs to go on with the registrations; after pause(). */
  export(): RegistrationState[] {
    const nowMs = this.#pausedAtMs ?? performance.now();
    return [...this.#registered.values()].map(({ instance, endsAtMs }) => ({
      instance,
      leftMs: Math.max(0, Math.ceil(endsAtMs - nowMs)),
    }));
  }

  /** Takes note of the registrations of another process, which keeps them until confirm(); changes wait until then. */
  adopt(registrations: readonly RegistrationState[]): void {
    this.#adopted = registrations;
    void this.#changes.close();
  }

  /** The other process is gone: keeps its registrations from now on. */
  confirm(): void {
    for (const { instance, leftMs } of this.#adopted) this.#add(instance, this.#keep(instance), leftMs);
    this.#adopted = [];
    this.#changes.open();
  }

  /** Takes everything that was registered here out of the registry, and registers nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#registered.keys()].map((id) => this.#remove(id)));
  }

  async #run(method: string, body: Buffer, asker: Asker): Promise<unknown> {
    switch (method.charAt(0).toLowerCase() + method.slice(1)) {
      case 'getService':
        return this.#getService(body);
      case 'registerService':
        this.#checkMayRegister(asker);
        return this.#changes.pass(() => this.#register(body, asker));
      case 'unregisterService':
        this.#checkMayRegister(asker);
        return this.#changes.pass(() => this.#remove(instanceOf(body).id)).then(() => true);
      default:
        throw new MeshError(
          'UNIMPLEMENTED',
          `no method "${method}": getService of /service/lookup, registerService or unregisterService of /service/moa-admin`,
        );
    }
  }

  #checkMayRegister({ direction, place, uid }: Asker): void {
    const { registration } = this.rules;
    const refuse = (text: string): never => {
      throw new MeshError('PERMISSION_DENIED', text);
    };
    if (registration === 'off') refuse('this agent registers no old servers (legacy.registration: off)');
    if (registration === 'loopback' && direction !== 'outbound') {
      refuse(
        'this agent registers old servers on its loopback port only (legacy.registration: any allows it here)',
      );
    }
    if (place === 'here-unallowed') {
      refuse(
        `uid ${uid ?? 'unknown'} of this machine may not register servers with this agent: add it to loopback.allowUids`,
      );
    }
  }

  #checkAddress({ host }: Instance, { place }: Asker): void {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const wrong = whyNotRegistrable(host, {
      caller: place === 'here-unallowed' ? 'here' : place,
      networks: this.rules.networks,
      ownAddresses: [...addresses.map(({ address }) => address), this.rules.advertisedHost],
    });
    if (wrong !== undefined) throw new MeshError('PERMISSION_DENIED', wrong);
  }

  async #getService(body: Buffer): Promise<{ hosts: string[]; uri: string }> {
    const [uri, protocol, third] = parse(lookup, body);
    const { service, group } = splitUri(uri, third);
    const hosts = (await this.#list(service))
      .filter(
        (instance) =>
          instance.weight > 0 && takesIn(group, instance.group) && instance.protocols.includes(protocol),
      )
      .map(({ host, port }) => `${joinHostPort({ host, port })}?timeout=1000&protocol=${protocol}`);
    return { hosts: [...new Set(hosts)], uri };
  }

  /** The live instances of a service, as soon as they are known. */
  #list(service: string): Promise<readonly Instance[]> {
    return new Promise((resolve, reject) => {
      let end: () => void = () => undefined;
      let done = false;
      const finish = (settle: () => void): void => {
        done = true;
        clearTimeout(timer);
        end();
        settle();
      };
      const timer = setTimeout(() => {
        finish(() => reject(new MeshError('UNAVAILABLE', 'the registry has not been read yet')));
      }, listTimeoutMs);
      end = this.registry.watch(service, undefined, (instances) => {
        if (!done) finish(() => resolve(instances));
      });
      if (done) end();
    });
  }

  async #register(body: Buffer, asker: Asker): Promise<boolean> {
    const instance = instanceOf(body);
    if (this.#closed)
      throw new MeshError('UNAVAILABLE', 'this agent is draining and registers nothing any more');
    const known = this.#registered.get(instance.id);
    if (known !== undefined) {
      this.#setEnd(known, renewedWithinMs);
      await known.registering;
      return true;
    }
    this.#checkAddress(instance, asker);
    if (this.#registered.size >= this.maxRegistrations) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `${this.maxRegistrations} instances are registered through this agent already (limits.publications)`,
      );
    }
    const registering = this.registry.register(instance);
    const added = this.#add(instance, registering, renewedWithinMs);
    try {
      await registering;
    } catch (error) {
      clearTimeout(added.timer);
      this.#registered.delete(instance.id);
      throw error;
    }
    return true;
  }

  #add(instance: Instance, registering: Registered['registering'], leftMs: number): Registered {
    const endsAtMs = performance.now() + leftMs;
    const added: Registered = { instance, registering, timer: this.#endIn(instance.id, leftMs), endsAtMs };
    this.#registered.set(instance.id, added);
    return added;
  }

  #setEnd(known: Registered, leftMs: number): void {
    clearTimeout(known.timer);
    known.timer = this.#endIn(known.instance.id, leftMs);
    known.endsAtMs = performance.now() + leftMs;
  }

  #endIn(id: string, leftMs: number): NodeJS.Timeout {
    return setTimeout(() => void this.#remove(id), leftMs).unref();
  }

  /** Goes on with an instance that stands in the registry already. */
  async #keep(instance: Instance): Promise<Registration | undefined> {
    for (;;) {
      try {
        return await this.registry.register(instance);
      } catch (error) {
        this.onTrouble(
          `could not renew the lease of an old server of ${instance.service}; it is tried again`,
          error,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, keepAgainMs).unref());
      if (!this.#registered.has(instance.id)) return undefined;
    }
  }

  async #remove(id: string): Promise<void> {
    const known = this.#registered.get(id);
    if (known === undefined) return;
    this.#registered.delete(id);
    clearTimeout(known.timer);
    try {
      await (await known.registering)?.deregister();
    } catch (error) {
      this.onTrouble('could not take an old server out of the registry', error);
    }
  }
}

/** `[uri, "host:port", protocol, {}]`, or with a group before the last. */
function instanceOf(body: Buffer): Instance {
  const [uri, address, protocol, fourth] = parse(registration, body);
  if (protocol !== LEGACY_PROTOCOL) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `this agent knows old servers of protocol "${LEGACY_PROTOCOL}" only`,
    );
  }
  const { service, group } = splitUri(uri, fourth);
  const colon = address.lastIndexOf(':');
  const result = parseInstance({
    id: `moa-${createHash('sha256').update(`${service}\n${group}\n${address}`).digest('hex').slice(0, 32)}`,
    service,
    group,
    host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'),
    port: Number(address.slice(colon + 1)),
    protocols: [LEGACY_PROTOCOL],
    epoch: Date.now(),
  });
  if ('wrong' in result) throw new MeshError('INVALID_ARGUMENT', result.wrong);
  return result.instance;
}

function splitUri(uri: string, argument: unknown): { service: string; group: string } {
  const [service = '', inUri = ''] = uri.split('#', 2);
  const named = typeof argument === 'string' && argument !== '' ? argument : inUri;
  return { service, group: named === '*' ? '' : named };
}

function parse<T>(schema: z.ZodType<T>, body: Buffer): T {
  const result = schema.safeParse(JSON.parse(body.toString('utf8')));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `argument ${issue?.path.join('.') || 'list'}: ${issue?.message ?? 'is malformed'}`,
  );
}
