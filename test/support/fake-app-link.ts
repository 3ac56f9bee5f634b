// Stands in for the native app link in tests of the SDK: "shared memory" is frames on the agent's unix socket, with
// the same promises as the real one (whole frames only, callbacks from the event loop, onClose once and last).
// Install it with vi.mock on src/native/app-link.ts.
import { connect } from 'node:net';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import type { AppLink, AppLinkEvents } from '../../src/native/app-link.js';

/** What the fake addon does; tests change it and reset it. */
export const fakeAddon = {
  /** Undefined: it loads. Else: loading throws with this. */
  missing: undefined as string | undefined,
  /** Bytes that it takes at most at a time, to look like a full ring. */
  takesAtMost: Infinity,
};

export function fakeRequireAppLinks(): void {
  if (fakeAddon.missing !== undefined) throw new Error(fakeAddon.missing);
}

export function fakeOpenAppLink(path: string, hello: Uint8Array, events: AppLinkEvents): AppLink {
  const socket = connect({ path });
  const parser = new FrameParser();
  let open = false;
  let reason = 'closed';
  let gatheredBytes = 0;
  socket.write(hello);
  socket.on('data', (chunk: Buffer) => {
    const slabs: Buffer[] = [];
    parser.push(chunk, (frame) => {
      const whole = Buffer.from(frame.bytes.subarray(frame.headerStart - 32, frame.bodyEnd));
      if (!open) {
        open = true;
        events.onOpen(whole);
      } else slabs.push(whole);
    });
    const slab = Buffer.concat(slabs);
    if (slab.length > 0) events.onData(slab, 0, slab.length);
  });
  // Behind everything written so far; 'drain' would come only where much was.
  const tellSpace = (): void => void socket.write(Buffer.alloc(0), () => events.onSpace());
  socket.on('error', (error) => (reason = error.message));
  socket.on('close', () => events.onClose(reason));
  return {
    write(bytes, start, end) {
      if (!open || socket.writableLength > 0) {
        tellSpace();
        return 0;
      }
      let taken = 0;
      const given = Buffer.from(bytes.subarray(start, end));
      while (taken < given.length) {
        const next = taken + 32 + given.readUInt32LE(taken + 8) + given.readUInt32LE(taken + 12);
        if (next > fakeAddon.takesAtMost && taken > 0) break;
        taken = next;
      }
      socket.write(given.subarray(0, taken));
      if (taken < given.length) setImmediate(() => events.onSpace());
      return taken;
    },
    hasRoom() {
      if (!open || socket.writableLength > 0) tellSpace();
      else if (fakeAddon.takesAtMost < gatheredBytes) setImmediate(() => events.onSpace());
      else return true;
      gatheredBytes = 0;
      return false;
    },
    writeFrame(prefix, body) {
      gatheredBytes += prefix.length + body.length;
      socket.cork();
      socket.write(Buffer.from(prefix));
      socket.write(Buffer.from(body));
      socket.uncork();
      return true;
    },
    close: () => socket.destroy(),
    ref: () => undefined,
    unref: () => undefined,
  };
}
