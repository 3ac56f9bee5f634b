// Filters that a user writes: modules named in the configuration, run for each request of the services they name. The
// engine asks for these requests only; it keeps the body, a filter sees the header. A filter that throws fails its
// request, nothing else; one that never answers ends at the request's deadline, which the engine keeps.
import { pathToFileURL } from 'node:url';
import { MeshError, errorText } from '../base/errors.js';
import { Status } from '../base/status.js';
import type { StatusName } from '../base/status.js';
import type { EngineDirection } from '../native/engine-commands.js';
import { appendHeaderField, removeAttachment, setAttachment } from '../protocol/header-patch.js';
import type { Attachments, Header } from '../protocol/header.js';

/** What a filter sees of a request. All of it is a copy. */
export interface FilterRequest {
  /** `outbound`: an app of this agent calls; `inbound`: an app of this agent is called. */
  readonly direction: EngineDirection;
  readonly service: string;
  readonly method: string;
  readonly group: string;
  readonly version: string;
  readonly sourceApp: string;
  readonly hashKey: string;
  readonly traceparent: string;
  readonly attachments: Readonly<Attachments>;
  /** Milliseconds the caller gave it; 0: not stated. */
  readonly timeoutMs: number;
  readonly oneWay: boolean;
}

/** What a filter wants done; nothing (undefined) lets the request pass as it is. */
export interface FilterResult {
  /** Ends the request with this status; it has not run. */
  reject?: { status: Exclude<StatusName, 'OK'>; message: string };
  /** Sets attachments; null removes one. */
  attachments?: Record<string, string | null>;
  /** Sends the request elsewhere; what is absent stays. Outbound only. */
  route?: { service?: string; group?: string; version?: string };
}

/**
 * A filter, the default export of its module.
 *
 * @example
 * export default {
 *   name: 'canary',
 *   directions: ['outbound'],
 *   onRequest: ({ attachments }) => (attachments['user'] === '7' ? { route: { group: 'canary' } } : undefined),
 * };
 */
export interface RequestFilter {
  readonly name: string;
  /** Default: both. */
  readonly directions?: readonly EngineDirection[];
  onRequest(
    request: FilterRequest,
  ): FilterResult | undefined | void | Promise<FilterResult | undefined | void>;
}

/** Where a filter is and what it looks at, from the configuration. */
export interface FilterSource {
  readonly module: string;
  /** Service names, or `*` for all. */
  readonly services: readonly string[];
}

interface LoadedFilter {
  readonly filter: RequestFilter;
  readonly services: ReadonlySet<string>;
}

/** What the filters made of a request. */
export type FilterOutcome =
  | { kind: 'reject'; code: number; text: string }
  | { kind: 'pass'; header: Buffer; service: string; group: string; version: string };

/** The filters of one configuration, in its order. */
export class Filters {
  private constructor(private readonly filters: readonly LoadedFilter[]) {}

  /** @throws Error naming the module that does not load or is no filter */
  static async load(sources: readonly FilterSource[]): Promise<Filters> {
    return new Filters(
      await Promise.all(
        sources.map(async ({ module, services }) => ({
          filter: await loadFilter(module),
          services: new Set(services),
        })),
      ),
    );
  }

  /** Whether any filter looks at requests of this service. */
  has(direction: EngineDirection, service: string): boolean {
    return this.filters.some((loaded) => looksAt(loaded, direction, service));
  }

  /** Runs the filters that look at this request, each on what the one before made of it. */
  async run(
    direction: EngineDirection,
    header: Header,
    bytes: Buffer,
    call: { timeoutMs: number; oneWay: boolean },
  ): Promise<FilterOutcome> {
    let patched = bytes;
    const attachments: Attachments = Object.assign(Object.create(null) as Attachments, header.attachments);
    let { service, group, version } = header;
    for (const loaded of this.filters) {
      if (!looksAt(loaded, direction, header.service)) continue;
      const { filter } = loaded;
      const { method, sourceApp, hashKey, traceparent } = header;
      const request: FilterRequest = {
        ...{ direction, service, method, group, version, sourceApp, hashKey, traceparent },
        attachments: { ...attachments },
        ...call,
      };
      try {
        const result = checkedResult(await filter.onRequest(request));
        if (result === undefined) continue;
        if (result.reject) {
          return { kind: 'reject', code: Status[result.reject.status], text: result.reject.message };
        }
        for (const [key, value] of Object.entries(result.attachments ?? {})) {
          patched = value === null ? removeAttachment(patched, key) : setAttachment(patched, key, value);
          if (value === null) delete attachments[key];
          else attachments[key] = value;
        }
        if (result.route && direction === 'outbound') {
          ({ service = service, group = group, version = version } = result.route);
        }
      } catch (error) {
        return {
          kind: 'reject',
          code: Status.INTERNAL,
          text: `filter ${filter.name} failed: ${errorText(error)}`,
        };
      }
    }
    if (service !== header.service) patched = appendHeaderField(patched, 1, service);
    if (group !== header.group) patched = appendHeaderField(patched, 3, group);
    if (version !== header.version) patched = appendHeaderField(patched, 4, version);
    return { kind: 'pass', header: patched, service, group, version };
  }
}

/** A filter's answer is a user's, often plain JavaScript: what is not of the documented shape is that filter's failure. */
function checkedResult(answer: unknown): FilterResult | undefined {
  if (answer === undefined || answer === null) return undefined;
  if (typeof answer !== 'object') throw new TypeError(`it answered a ${typeof answer}, not an object`);
  const { reject, attachments, route } = answer as FilterResult;
  if (reject !== undefined) {
    if (!Object.hasOwn(Status, reject.status) || (reject.status as string) === 'OK')
      throw new TypeError('reject.status must be the name of a status other than OK');
    if (typeof reject.message !== 'string') throw new TypeError('reject.message must be a string');
  }
  for (const [key, value] of Object.entries(attachments ?? {})) {
    if (value !== null && typeof value !== 'string')
      throw new TypeError(`attachment ${key} must be a string or null`);
  }
  for (const name of ['service', 'group', 'version'] as const) {
    const value = route?.[name];
    if (value !== undefined && typeof value !== 'string')
      throw new TypeError(`route.${name} must be a string`);
  }
  return answer;
}

function looksAt({ filter, services }: LoadedFilter, direction: EngineDirection, service: string): boolean {
  if (filter.directions && !filter.directions.includes(direction)) return false;
  return services.has('*') || services.has(service);
}

async function loadFilter(module: string): Promise<RequestFilter> {
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(module).href)) as { default?: unknown };
  } catch (cause) {
    throw new MeshError('FAILED_PRECONDITION', `filter ${module} does not load: ${errorText(cause)}`, {
      cause,
    });
  }
  const filter = loaded.default as Partial<RequestFilter> | undefined;
  if (typeof filter?.onRequest !== 'function' || typeof filter.name !== 'string') {
    throw new MeshError(
      'FAILED_PRECONDITION',
      `filter ${module}: its default export must be an object {name, onRequest(request)}`,
    );
  }
  return filter as RequestFilter;
}
