// Decodes the batches of events that the engine hands over (native/engine/report.cc is the other side). They come from
// our own native code, so a batch that does not decode is a bug and throws.
import type { Buffer } from 'node:buffer';
import type { EngineDirection } from './engine-commands.js';
import type { EngineStats } from './engine-stats.js';
import { readStats } from './engine-stats.js';
import { BatchReader } from './batch-reader.js';

/** Why the engine asks: it has no flow, a user's filter looks at each request, or the request is for the agent itself. */
export type UpcallKind = 'miss' | 'filter' | 'control';
/** What a link is made of. */
export type LinkKind = 'shm' | 'unix' | 'tcp';
/** Who is at its other end: an app of this agent, an agent that connected here, an agent we connected to. */
export type LinkRole = 'app' | 'peer' | 'upstream';
/**
 * Where whoever opened a link is: `here` under a user who may use this agent, `here-unallowed` under one who may not or who is not known. `not-asked`:
 * nothing depends on it, or the link came from a process that did not ask.
 */
export type CallerPlace = 'not-asked' | 'elsewhere' | 'here' | 'here-unallowed';

/** One event of the engine. */
export type EngineEvent =
  | {
      type: 'upcall';
      token: number;
      kind: UpcallKind;
      direction: EngineDirection;
      link: number;
      place: CallerPlace;
      /** Of whoever opened the link; undefined where it is not known. */ uid: number | undefined;
      oneWay: boolean;
      timeoutMs: number;
      header: Buffer;
      /** Only of control requests. */ body: Buffer;
    }
  | {
      type: 'link-up';
      link: number;
      kind: LinkKind;
      role: LinkRole;
      peer: string;
      app: string;
      /** Why an app that asked for shared memory got none; else empty. */ note: string;
    }
  | { type: 'link-down'; link: number; reason: string }
  | { type: 'go-away-done'; id: number; acked: number; missed: number }
  | { type: 'stats'; id: number; stats: EngineStats }
  | { type: 'idle'; id: number }
  | {
      /** A slow or failed request. */ type: 'record';
      status: number;
      latencyUs: number;
      direction: EngineDirection;
      service: string;
      /** Address of the next hop; empty where it is gone. */ upstream: string;
      sourceApp: string;
      text: string;
      /** Its beginning, where it is long. */ method: string;
      /** Of the W3C trace context that the caller sent; empty where it sent none. */ traceId: string;
    }
  | { type: 'listener-problem'; listener: number; /** Empty: it is over. */ text: string }
  | { type: 'upstream-problem'; address: string; /** Empty: it is over. */ text: string }
  /** A new process asks to take over; it is answered with an offer or a refusal. */
  | { type: 'handoff-asked'; pid: number; software: string }
  | { type: 'handoff-offered'; state: Buffer }
  /** Another process has everything; this engine is empty. */
  | { type: 'handed-over'; freezeUs: number; links: number; pending: number; parked: number }
  | ({ type: 'taken-over' } & TakenOver)
  /** Where this engine was to hand over, it goes on as before; where it was to take over, it is of no use. */
  | { type: 'handoff-failed'; text: string };

/** What came from the old process. */
export interface TakenOver {
  /** From the last frame the old process read until this one began to read. */
  freezeUs: number;
  pending: number;
  parked: number;
  listeners: { id: number; kind: LinkKind; role: LinkRole | 'successor'; port: number }[];
  /** Handles, the same as in the old process. */
  links: number[];
}

const callerPlaces = ['not-asked', 'elsewhere', 'here', 'here-unallowed'] as const;
const upcallKinds = ['miss', 'filter', 'control'] as const;
export const linkKinds = ['shm', 'unix', 'tcp'] as const;
export const linkRoles = ['app', 'peer', 'upstream'] as const;
export const directions = ['outbound', 'inbound'] as const;
const oneWayType = 3;
const unknownUid = 0xffff_ffff;

/** All events of a batch, in order. Buffers in them are slices of it. */
export function* decodeEvents(batch: Buffer): Generator<EngineEvent> {
  const events = new BatchReader(batch);
  while (events.left > 0) {
    const code = events.u8();
    yield decodeEvent(code, new BatchReader(events.bytes()));
  }
}

function decodeEvent(code: number, from: BatchReader): EngineEvent {
  switch (code) {
    case 1: {
      const token = from.u64();
      const kind = from.oneOf(upcallKinds);
      const direction = from.oneOf(directions);
      const link = from.u64();
      const place = from.oneOf(callerPlaces);
      const uid = from.u32();
      const oneWay = from.u8() === oneWayType;
      return {
        type: 'upcall',
        token,
        kind,
        direction,
        link,
        place,
        uid: uid === unknownUid ? undefined : uid,
        oneWay,
        timeoutMs: from.u32(),
        header: from.bytes(),
        body: from.bytes(),
      };
    }
    case 2:
      return {
        type: 'link-up',
        link: from.u64(),
        kind: from.oneOf(linkKinds),
        role: from.oneOf(linkRoles),
        peer: from.text(),
        app: from.text(),
        note: from.text(),
      };
    case 3:
      return { type: 'link-down', link: from.u64(), reason: from.text() };
    case 4:
      return { type: 'go-away-done', id: from.u32(), acked: from.u32(), missed: from.u32() };
    case 5:
      return { type: 'stats', id: from.u32(), stats: readStats(from) };
    case 6:
      return { type: 'idle', id: from.u32() };
    case 7:
      return {
        type: 'record',
        status: from.u8(),
        latencyUs: from.f64(),
        direction: from.oneOf(directions),
        service: from.text(),
        upstream: from.text(),
        sourceApp: from.text(),
        text: from.text(),
        method: from.text(),
        traceId: from.text(),
      };
    case 8:
      return { type: 'listener-problem', listener: from.u32(), text: from.text() };
    case 9:
      return { type: 'handoff-asked', pid: from.u32(), software: from.text() };
    case 10:
      return { type: 'handoff-offered', state: from.bytes() };
    case 11:
      return {
        type: 'handed-over',
        freezeUs: from.f64(),
        links: from.u32(),
        pending: from.u32(),
        parked: from.u32(),
      };
    case 12:
      return {
        type: 'taken-over',
        freezeUs: from.f64(),
        pending: from.u32(),
        parked: from.u32(),
        listeners: Array.from({ length: from.u32() }, () => ({
          id: from.u32(),
          kind: from.oneOf(linkKinds),
          role: from.oneOf([...linkRoles, 'successor'] as const),
          port: from.u32(),
        })),
        links: Array.from({ length: from.u32() }, () => from.u64()),
      };
    case 13:
      return { type: 'handoff-failed', text: from.text() };
    case 14:
      return { type: 'upstream-problem', address: from.text(), text: from.text() };
    default:
      throw new Error(
        `the engine sent an event of unknown type ${code}: addon and dist/ are of different builds`,
      );
  }
}
