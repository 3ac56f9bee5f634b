/**
 * Watches the configuration file and delivers each new valid configuration. It watches the directory, because
 * editors and Kubernetes replace the file (or a link to it) instead of writing into it, and it also looks by itself
 * now and then, because a watch on a directory that is replaced goes silent. A broken file is reported once; the
 * agent goes on with what it has.
 */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { errorText } from '../base/errors.js';
import { readConfigText } from './check-document.js';
import { parseAgentConfig } from './load-config.js';
import { thisMachine } from './resolve-config.js';
import type { AgentConfig, Machine } from './resolve-config.js';

/** See the file's head. */
export interface WatchConfigOptions {
  /** Called with each configuration whose text differs from the last one and that is valid. */
  onChange: (config: AgentConfig) => void;
  /** Called when the file cannot be read or used, once until that changes. */
  onError: (error: Error) => void;
  /** How long after the last event the file is read, so that a burst of events is one change. Default 100. */
  debounceMs?: number;
  /** What the file held when it was read, null where there was none; a difference by now is delivered. Without it what it holds now counts as known. */
  known?: string | null;
  /** How often the file is looked at without an event. Default 5000. */
  recheckMs?: number;
  machine?: Machine;
}

/**
 * Watches a configuration file from now on.
 * @returns ends the watch
 */
export function watchConfig(path: string, options: WatchConfigOptions): { close(): void } {
  const { onChange, onError, debounceMs = 100, recheckMs = 5_000, machine = thisMachine() } = options;
  const file = resolve(path);
  let lastSeen = firstState(file, options.known);
  let watcher: FSWatcher | null = null;
  let debounce: NodeJS.Timeout | null = null;

  const look = (): void => {
    const now = stateOf(file);
    if (now.key === lastSeen.key) return;
    lastSeen = now;
    try {
      if (now.error) throw now.error;
      onChange(parseAgentConfig(now.text, { source: path, directory: dirname(file), machine }));
    } catch (error) {
      onError(error instanceof Error ? error : new Error(errorText(error)));
    }
  };
  const onEvent = (): void => {
    debounce ??= setTimeout(() => {
      debounce = null;
      look();
    }, debounceMs);
    debounce.refresh();
  };
  const arm = (): void => {
    watcher?.close();
    watcher = null;
    try {
      watcher = watch(dirname(file), { persistent: false }, onEvent);
      watcher.on('error', () => {
        watcher?.close();
        watcher = null;
      });
    } catch {
      // The directory is gone: the next recheck tries again, and `look` reports what is wrong with the file.
    }
  };

  arm();
  look();
  const recheck = setInterval(() => {
    arm();
    look();
  }, recheckMs);
  recheck.unref();
  return {
    close() {
      clearInterval(recheck);
      if (debounce) clearTimeout(debounce);
      watcher?.close();
    },
  };
}

type FileState = { key: string; text: string; error?: undefined } | { key: string; error: Error };

function read(text: string): FileState {
  return { key: `text ${text}`, text };
}

function firstState(file: string, known: string | null | undefined): FileState {
  if (typeof known === 'string') return read(known);
  const now = stateOf(file);
  // A file that has come meanwhile is a change.
  return known === null && !now.error ? { key: 'no file', text: '' } : now;
}

function stateOf(file: string): FileState {
  try {
    return read(readConfigText(file));
  } catch (error) {
    const thrown = error instanceof Error ? error : new Error(errorText(error));
    return { key: `error ${basename(file)} ${thrown.message}`, error: thrown };
  }
}
