// Finds and loads the native addon. Called by the other files of this folder only; everything else asks them. A
// missing addon is no accident but a state the SDK lives with (it then speaks frames over a socket), so the error says
// what was looked for and how to get it.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { AppLink } from './app-link.js';

/** What the addon exports. Each port file of `native/port` adds its functions here; their wrappers give them types. */
export interface Addon {
  readonly AppLink: new (
    socketPath: string,
    hello: Uint8Array,
    events: object,
    agentUids: readonly number[] | undefined,
  ) => AppLink;
  readonly Pacer: new (ratePerSecond: number, events: object) => NativePacer;
  readonly [name: string]: unknown;
}

/** The object behind a pacer, see pacer.ts. */
export interface NativePacer {
  readonly intervalNs: number;
  stop(): void;
}

// Both src/native and dist/native lie two levels below the package's root.
const addonPath = fileURLToPath(new URL('../../build/Release/ringside.node', import.meta.url));

let loaded: Addon | undefined;

/**
 * The native addon, loaded once per thread.
 *
 * @throws Error with the reason, when it was not built, does not fit this Node, or `RINGSIDE_ADDON=off` forbids it.
 */
export function loadAddon(): Addon {
  if (process.env['RINGSIDE_ADDON'] === 'off') {
    throw new Error('the native addon is switched off by RINGSIDE_ADDON=off');
  }
  loaded ??= requireAddon();
  return loaded;
}

function requireAddon(): Addon {
  try {
    return createRequire(import.meta.url)(addonPath) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    throw new Error(
      `the native addon could not be loaded (${reason}); build it with "npm run build:native" (needs Linux, Python 3 and a C++20 compiler)`,
      { cause },
    );
  }
}
