// From two looks at an agent to what happened in between: rates per service and per link. Pure; run-top.ts asks and draws.
import type { FlowView, LinkView } from '../../observe/agent-view.js';

/** One look at an agent. */
export interface Look {
  atMs: number;
  links: LinkView[];
  flows: FlowView[];
}

/** A service in one direction, between two looks. Latency is since the agent started. */
export interface ServiceRow {
  direction: string;
  service: string;
  requestsPerSecond: number;
  failedPerSecond: number;
  p50Us: number;
  p99Us: number;
}

/** A link between two looks. */
export interface LinkRow {
  id: string;
  kind: string;
  role: string;
  app: string;
  peer: string;
  requestsPerSecond: number;
  bytesPerSecond: number;
  pending: number;
  outboundBytes: number;
}

/** Services by rate, the busiest first. */
export function serviceRows(before: Look, after: Look): ServiceRow[] {
  const seconds = secondsBetween(before, after);
  const earlier = new Map(before.flows.map((flow) => [flowKey(flow), flow]));
  return after.flows
    .map((flow) => {
      const was = earlier.get(flowKey(flow));
      return {
        direction: flow.direction,
        service: [flow.service, flow.group].filter(Boolean).join('#'),
        requestsPerSecond: growth(was?.requests, flow.requests) / seconds,
        failedPerSecond: growth(was && failures(was), failures(flow)) / seconds,
        p50Us: flow.latency.p50Us,
        p99Us: flow.latency.p99Us,
      };
    })
    .sort((a, b) => b.requestsPerSecond - a.requestsPerSecond);
}

/** Links by rate, the busiest first. */
export function linkRows(before: Look, after: Look): LinkRow[] {
  const seconds = secondsBetween(before, after);
  const earlier = new Map(before.links.map((link) => [link.id, link]));
  return after.links
    .map((link) => {
      const was = earlier.get(link.id);
      const { id, kind, role, app, peer, pending, outboundBytes } = link;
      return {
        ...{ id, kind, role, app, peer, pending, outboundBytes },
        requestsPerSecond: growth(was?.requestsIn, link.requestsIn) / seconds,
        bytesPerSecond: growth(was && was.bytesIn + was.bytesOut, link.bytesIn + link.bytesOut) / seconds,
      };
    })
    .sort((a, b) => b.bytesPerSecond - a.bytesPerSecond);
}

function flowKey(flow: FlowView): string {
  return JSON.stringify([flow.direction, flow.service, flow.method, flow.group]);
}

function failures(flow: FlowView): number {
  return flow.byStatus.slice(1).reduce((total, count) => total + count, 0);
}

/** What came new is counted from 0; a counter that started anew, too. */
function growth(before: number | undefined, after: number): number {
  return before === undefined || before > after ? after : after - before;
}

function secondsBetween(before: Look, after: Look): number {
  return Math.max(0.001, (after.atMs - before.atMs) / 1000);
}
