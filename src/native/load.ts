// Finds and loads the native addon. Called by the other files of this folder only; everything else asks them. A
// missing addon is no accident but a state the SDK lives with (it then speaks frames over a socket), so the error says
// what was looked for and how to get it.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageDirectory, packageName } from '../base/build-info.js';
import { rebuildCommand } from '../base/rebuild-command.js';
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

let loaded: Addon | undefined;
let failure: Error | undefined;

/**
 * The native addon, loaded once per thread.
 *
 * @throws Error with the reason, when it was not built, does not fit this Node, or `RINGSIDE_ADDON=off` forbids it.
 */
export function loadAddon(): Addon {
  if (process.env['RINGSIDE_ADDON'] === 'off') {
    throw new Error('the native addon is switched off by RINGSIDE_ADDON=off');
  }
  if (failure !== undefined) throw failure;
  try {
    loaded ??= requireAddon();
  } catch (error) {
    failure = error as Error;
    throw error;
  }
  return loaded;
}

function requireAddon(): Addon {
  const home = packageDirectory();
  if (home === undefined) {
    throw new Error(
      `this application is bundled, and a bundle cannot hold the addon that shared memory needs (a socket is used instead): leave ${packageName} out of it (with esbuild --external:${packageName}) and install it beside the bundle`,
    );
  }
  const addonPath = join(home, 'build', 'Release', 'ringside.node');
  try {
    return createRequire(addonPath)(addonPath) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    throw new Error(
      `the native addon could not be loaded (${reason}); run ${rebuildCommand(home)} (needs Linux, Python 3 and a C++20 compiler)`,
      { cause },
    );
  }
}
