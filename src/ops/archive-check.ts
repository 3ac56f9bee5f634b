/**
 * Judges the entries of an archive before anything of it is written: nothing may come to lie, or lead, outside of the directory it is unpacked
 * into. Paths are followed name by name with the links that the archive itself holds; a path that runs through a link is refused, so
 * what is seen here is what the file system will do.
 */
import { posix } from 'node:path';

/** One entry, as tar names it. */
export interface ArchiveEntry {
  path: string;
  type: string;
  size: number;
  mode: number;
  linkpath?: string;
}

export interface ArchiveLimits {
  maxEntries: number;
  maxUnpackedBytes: number;
}

const FILES = ['File', 'OldFile', 'ContiguousFile'];
const SET_ID = 0o6000;
const MAX_PATH_BYTES = 2_048;
/** Each is looked up on the way to every file below. */
const MAX_PATH_NAMES = 64;

/** See the file's head: `add` every entry, then `finish`. Both throw an Error that names the entry. */
export class ArchiveCheck {
  readonly #kinds = new Map<string, 'file' | 'directory' | 'link'>();
  /** Paths that must lead somewhere inside, by who names them. */
  readonly #targets: { path: string; names: string[]; hard: boolean }[] = [];
  #bytes = 0;

  constructor(private readonly limits: ArchiveLimits) {}

  add({ path, type, size, mode, linkpath = '' }: ArchiveEntry): void {
    const refuse = (why: string): Error =>
      new Error(`the archive is refused: ${JSON.stringify(path.slice(0, 200))} ${why}`);
    const kind = FILES.includes(type) ? 'file' : type === 'Directory' ? 'directory' : 'link';
    if (kind === 'link' && type !== 'SymbolicLink' && type !== 'Link')
      throw refuse(`is a ${type}; files, directories and links are allowed`);
    if ((mode & SET_ID) !== 0 && kind === 'file') throw refuse('has a set-user-id or set-group-id bit');
    if (Buffer.byteLength(path) > MAX_PATH_BYTES || Buffer.byteLength(linkpath) > MAX_PATH_BYTES)
      throw refuse(`has a path longer than ${MAX_PATH_BYTES} bytes`);
    const names = namesOf(path);
    if (names.length > MAX_PATH_NAMES || namesOf(linkpath).length > MAX_PATH_NAMES)
      throw refuse(`has a path of more than ${MAX_PATH_NAMES} names`);
    if (path.startsWith('/') || names.includes('..') || path.includes('\0') || path.includes('\\'))
      throw refuse('does not lie inside the directory');

    const whole = names.join('/');
    const before = this.#kinds.get(whole);
    if (before !== undefined && (before !== 'directory' || kind !== 'directory')) throw refuse('comes twice');
    this.#kinds.set(whole, kind);
    this.#bytes += size;
    if (this.#kinds.size > this.limits.maxEntries)
      throw new Error(`the archive has more entries than versions.maxEntries, ${this.limits.maxEntries}`);
    if (this.#bytes > this.limits.maxUnpackedBytes)
      throw new Error(
        `the archive's files are larger than versions.maxUnpackedBytes, ${this.limits.maxUnpackedBytes}`,
      );

    this.#targets.push({ path, names, hard: false });
    if (kind !== 'link') return;
    if (linkpath === '' || linkpath.startsWith('/') || linkpath.includes('\0'))
      throw refuse('is a link that leads out of the directory');
    const hard = type === 'Link';
    this.#targets.push({ path, names: [...(hard ? [] : names.slice(0, -1)), ...namesOf(linkpath)], hard });
  }

  finish(): void {
    for (const { path, names, hard } of this.#targets) {
      const refuse = (why: string): Error =>
        new Error(`the archive is refused: ${JSON.stringify(path.slice(0, 200))} ${why}`);
      const at: string[] = [];
      names.forEach((name, i) => {
        if (name === '..') {
          if (at.pop() === undefined) throw refuse('is a link that leads out of the directory');
          return;
        }
        at.push(name);
        if (i < names.length - 1 && this.#kinds.get(at.join('/')) === 'link')
          throw refuse('leads through another link');
      });
      if (hard && this.#kinds.get(at.join('/')) !== 'file')
        throw refuse('is a hard link to what is no file of the archive');
    }
  }
}

function namesOf(path: string): string[] {
  return path.split(posix.sep).filter((name) => name !== '' && name !== '.');
}
