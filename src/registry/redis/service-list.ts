/**
 * What a reader knows of one service in Redis: instances, which of them the watcher has taken out, which ids left by
 * themselves. It is read whole once and then follows the changes told on the service's channel as long as each continues
 * the version that it has; what does not fit asks for another read. Everything that comes from Redis is checked here.
 */
import { errorText } from '../../base/errors.js';
import { parseInstance } from '../instance.js';
import type { Instance } from '../instance.js';

/** Ids that are remembered as having left, at most. */
const MAX_LEFT = 4_096;

/** See the file's head. */
export class ServiceList {
  #version: string | null = null;
  readonly #instances = new Map<string, Instance>();
  #left = new Set<string>();
  #offline = new Set<string>();
  #problem: string | null = null;

  constructor(readonly service: string) {}

  /** Version of the content; null until it is read for the first time. */
  get version(): string | null {
    return this.#version;
  }

  /** What is wrong with the content; null if nothing is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** A copy of what is registered, by id; the watcher's marks make no difference to it. */
  instances(): Map<string, Instance> {
    return new Map(this.#instances);
  }

  /** Whether an instance left by itself. */
  hasLeft(id: string): boolean {
    return this.#left.has(id);
  }

  /** Whether the watcher has taken an instance out. */
  isOffline(id: string): boolean {
    return this.#offline.has(id);
  }

  get offline(): number {
    return this.#offline.size;
  }

  /** Ids that the watcher has taken out. */
  get offlineIds(): readonly string[] {
    return [...this.#offline];
  }

  /** Until the service is read for the first time: the marks that another process knew. */
  adopt(offline: readonly string[]): void {
    this.#offline = new Set(offline);
  }

  /** Takes the answer of the script ringsideRead. @returns whether the content may have changed */
  replace(answer: unknown): boolean {
    const [version, values, left, offline] = answer as [string, string[]?, string[]?, string[]?];
    if (values === undefined) return false;
    this.#version = version;
    const before = new Map(this.#instances);
    this.#instances.clear();
    this.#problem = null;
    // What did not change stays the same object, so that listeners can tell.
    const texts = new Map([...before.values()].map((instance) => [JSON.stringify(instance), instance]));
    for (const value of values) {
      const json = value.slice(value.indexOf(' ') + 1);
      const known = texts.get(json);
      if (known === undefined) this.#put(json);
      else this.#instances.set(known.id, known);
    }
    this.#left = new Set(left);
    this.#offline = new Set(offline);
    return true;
  }

  /** Follows one change. @returns false if it does not continue what is known: then the service must be read */
  follow(message: string): boolean {
    const match = /^(\d+) (\d+) (\S) ?([^]*)$/.exec(message);
    if (!match) return false;
    const [, before, after = '', kind, text = ''] = match;
    if (after === this.#version) return true;
    if (before !== this.#version) return false;
    switch (kind) {
      case '+':
        this.#put(text);
        break;
      case '-':
        if (this.#left.size >= MAX_LEFT) this.#left.clear();
        this.#left.add(text);
        this.#drop(text);
        break;
      case 'x':
        this.#drop(text);
        break;
      case 'd':
        this.#offline.add(text);
        break;
      case 'u':
        this.#offline.delete(text);
        break;
      default:
        return false;
    }
    this.#version = after;
    return true;
  }

  #drop(id: string): void {
    this.#instances.delete(id);
    this.#offline.delete(id);
  }

  #put(json: string): void {
    const wrong = this.#check(json);
    if (wrong !== null) this.#problem = `an instance of ${this.service} in Redis is wrong: ${wrong}`;
  }

  #check(json: string): string | null {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch (error) {
      return errorText(error);
    }
    const parsed = parseInstance(value);
    if ('wrong' in parsed) return parsed.wrong;
    const { instance } = parsed;
    if (instance.service !== this.service) return `it claims to be of another service`;
    this.#instances.set(instance.id, instance);
    this.#left.delete(instance.id);
    return null;
  }
}
