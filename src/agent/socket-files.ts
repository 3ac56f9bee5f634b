// The unix sockets that an agent leaves in the file system and takes away when it ends. Another agent may have put its own
// in the same place meanwhile, so each is known by its inode as well.
import { statSync, unlinkSync } from 'node:fs';

/** See the file's head. */
export class SocketFiles {
  readonly #inodeOf = new Map<string, number>();

  /** Takes charge of the socket at `path`; of nothing if there is none. */
  add(path: string): void {
    const inode = inodeAt(path);
    if (inode !== undefined) this.#inodeOf.set(path, inode);
  }

  /** Removes those that are still the agent's own. */
  removeAll(): void {
    for (const [path, inode] of this.#inodeOf) {
      try {
        if (inodeAt(path) === inode) unlinkSync(path);
      } catch {
        // Gone already.
      }
    }
    this.#inodeOf.clear();
  }
}

function inodeAt(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
