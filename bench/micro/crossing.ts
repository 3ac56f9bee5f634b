// What it costs JavaScript to hand frames to the addon, by how many go at once: the reason why frames of one tick are written together.
// Pings on a shared-memory link to a real agent, which answers each; the answers are awaited outside the measured time. A process
// of its own, asked by run-micro.ts.
import { frameLength, FrameType, encodeFrame } from '../../dist/protocol/frame.js';
import { openAppLink } from '../../dist/native/app-link.js';
import { encodeHello } from '../../dist/sdk/hello.js';
import { answerOrders } from '../load/answer-orders.js';
import { median } from '../measure/figures.js';

const batchSizes = [1, 8, 64, 512];
const repeats = 2_000;
const emptyWrites = 200_000;
const ringBytes = 512 * 1024;

answerOrders(async ({ socket }: { socket: string }): Promise<Record<string, number>> => {
  let awaited = 0;
  let done: () => void = () => undefined;
  let failed: (error: Error) => void = () => undefined;
  const opened = new Promise<void>((resolve, reject) => {
    done = resolve;
    failed = reject;
  });
  const link = openAppLink(socket, encodeHello('bench-crossing', ringBytes, undefined), {
    onOpen: () => done(),
    onData: (slab, start, end) => {
      for (let at = start; at < end; at += frameLength(slab, at)) awaited--;
      if (awaited === 0) done();
    },
    onSpace: () => undefined,
    onClose: (reason) => failed(new Error(`the link to the agent closed: ${reason}`)),
  });
  await opened;
  const nothing = Buffer.alloc(0);
  const startMs = performance.now();
  for (let i = 0; i < emptyWrites; i++) link.write(nothing, 0, 0);
  const emptyNs = ((performance.now() - startMs) * 1e6) / emptyWrites;
  const costs: Record<string, number> = { 'crossing into the addon with nothing to write': emptyNs };
  for (const size of batchSizes) {
    const ping = encodeFrame({ type: FrameType.ping });
    const batch = Buffer.concat(Array.from({ length: size }, () => ping));
    const tookNs: number[] = [];
    for (let i = 0; i < repeats; i++) {
      awaited = size;
      const answered = new Promise<void>((resolve, reject) => {
        done = resolve;
        failed = reject;
      });
      const startMs = performance.now();
      const taken = link.write(batch, 0, batch.length);
      tookNs.push((performance.now() - startMs) * 1e6);
      if (taken !== batch.length) throw new Error(`the ring took ${taken} of ${batch.length} bytes`);
      await answered;
    }
    costs[`write to the ring from JavaScript, doorbell included, ${size} frames of 32 bytes`] =
      median(tookNs);
  }
  return costs;
});
