// Every fault that the mesh is tested against, with what is seen of it: docs/faults.md shows this table, and test/docs/faults.test.ts holds it
// against the documentation, the tests it names and the sources that write the lines and counters it names.

export interface Fault {
  /** What happens. */
  fault: string;
  /** What callers see: statuses, whether a request may have run. */
  caller: string;
  /** Lines of the log, word for word. */
  log: readonly string[];
  /** Counters under /counters, which /metrics shows as ringside_engine_<name>_total. */
  counters: readonly string[];
  /** The test of it: its file, and words of its title. */
  test: { file: string; title: string };
}

export interface FaultGroup {
  title: string;
  faults: readonly Fault[];
}

const chaos = { file: 'test/e2e/chaos.test.ts', title: 'processes are killed and held under load' };
const overload = 'test/e2e/hostile-overload.test.ts';
const network = 'test/e2e/network-faults.test.ts';
const scarcity = 'test/e2e/scarcity.test.ts';
const registry = 'test/e2e/registry-trouble.test.ts';
const firstCalls = 'test/e2e/first-calls.test.ts';
const garbage = 'native/test/hostile/garbage_test.cc';

export const faultGroups: readonly FaultGroup[] = [
  {
    title: 'Processes',
    faults: [
      {
        fault: "the callers' agent is killed",
        caller:
          'calls under way: UNAVAILABLE, may have run if their frame was handed over; new ones: UNAVAILABLE, not run, until an agent is there again; with `waitForReady` they wait for it',
        log: [],
        counters: [],
        test: chaos,
      },
      {
        fault: "the servers' agent is killed",
        caller:
          'calls under way: UNAVAILABLE, may have run; new ones: UNAVAILABLE, not run, or another instance',
        log: [
          'link closed',
          'failed request',
          'another agent cannot be reached; it is tried again by itself',
        ],
        counters: ['connect_failures', 'repicks'],
        test: chaos,
      },
      {
        fault: 'a server is killed',
        caller:
          'calls under way: UNAVAILABLE, not run where its ring shows that it never took them; new ones: another instance, or UNAVAILABLE, not run, where there is none',
        log: ['link closed', 'failed request'],
        counters: ['links_closed'],
        test: chaos,
      },
      {
        fault: 'a caller is killed',
        caller: 'nobody is left to see it; its calls are cancelled at the servers',
        log: ['link closed'],
        counters: ['links_closed'],
        test: chaos,
      },
      {
        fault: 'any of them is held (SIGSTOP) and let go',
        caller:
          'DEADLINE_EXCEEDED, may have run if the frame was handed over; an agent held for longer than three keep-alive intervals: UNAVAILABLE as when it is killed',
        log: ['failed request', 'link closed'],
        counters: ['deadlines'],
        test: chaos,
      },
    ],
  },
  {
    title: 'The network between agents',
    faults: [
      {
        fault: 'cut, or a blackhole',
        caller:
          'DEADLINE_EXCEEDED, may have run, until the silence is found; then UNAVAILABLE: may have run if it was sent, not run if it came later',
        log: [
          'link closed',
          'another agent cannot be reached; it is tried again by itself',
          'another agent is reached again',
        ],
        counters: ['connects', 'connect_failures', 'deadlines'],
        test: { file: network, title: 'found by its silence, few attempts however many calls' },
      },
      {
        fault: 'half-open: the other agent died unheard',
        caller: 'as a cut; UNAVAILABLE, may have run, for what was sent before the reset',
        log: ['link closed'],
        counters: ['connects'],
        test: { file: network, title: 'half-open: the far agent dies behind a cut' },
      },
      {
        fault: 'reset',
        caller: 'calls under way: UNAVAILABLE, may have run; the next ones find a new connection',
        log: ['link closed', 'failed request'],
        counters: ['connects', 'links_closed'],
        test: { file: network, title: 'reset: calls under way may have run' },
      },
      {
        fault: 'delay, also with packets that get lost',
        caller: 'answers come later; DEADLINE_EXCEEDED, may have run, only where they come too late',
        log: [],
        counters: ['deadlines'],
        test: { file: network, title: 'only deadlines that are too short fire' },
      },
    ],
  },
  {
    title: 'The machine',
    faults: [
      {
        fault: 'the agent has no descriptors left',
        caller:
          'calls over open links go on; new apps: UNAVAILABLE, not run, or wait; calls to agents not connected yet: UNAVAILABLE, not run, with the address and the reason',
        log: [
          'a listener is in trouble; it goes on by itself',
          'connections are accepted again',
          'the registry is in trouble; the last good list serves on',
          'another agent cannot be reached; it is tried again by itself',
        ],
        counters: ['accept_failures', 'connect_failures'],
        test: { file: scarcity, title: 'an agent without descriptors serves whom it has' },
      },
      {
        fault: 'no memory for a ring (limit, memfd or mmap refused)',
        caller: 'nothing: the app goes on over the unix socket, and takes shared memory when there is some',
        log: ['link opened without the shared memory that was asked for'],
        counters: ['segments_refused'],
        test: { file: scarcity, title: 'the agent may not make files that long' },
      },
      {
        fault: "the registry's directory cannot be written: read-only, or full",
        caller: 'calls go on; `serve` is refused: UNAVAILABLE with the reason of the system',
        log: ['could not put '],
        counters: [],
        test: { file: registry, title: 'read-only: leases go on' },
      },
      {
        fault: "the registry's directory cannot be read",
        caller: 'calls go on with the last good list',
        log: ['the registry is in trouble; the last good list serves on', 'the registry is well again'],
        counters: [],
        test: { file: registry, title: 'unreadable: the last good list serves on' },
      },
      {
        fault: 'the registry has not been read yet: slow or down since before the agent was started',
        caller:
          'calls of services in no list of before wait for it, all of them; at their deadline DEADLINE_EXCEEDED, not run, with what is wrong with the registry',
        log: ['the registry is in trouble; the last good list serves on', 'the registry is well again'],
        counters: ['waited', 'deadlines'],
        test: { file: firstCalls, title: 'while Redis is down they wait until it is up' },
      },
      {
        fault: 'standard output cannot be written: a full disk',
        caller: 'nothing: lines of the log wait, and are dropped when 4 MiB of them do; a takeover goes well',
        log: [],
        counters: [],
        test: { file: 'test/e2e/upgrade-scarcity.test.ts', title: 'with a disk that is full' },
      },
      {
        fault: 'the wall clock jumps, also before or during a takeover',
        caller: 'nothing: deadlines and leases are measured on the monotonic clock',
        log: [],
        counters: [],
        test: { file: registry, title: 'jumps forward and back by days, and agents are replaced then' },
      },
    ],
  },
  {
    title: 'Too much',
    faults: [
      {
        fault: 'more requests under way than `limits.pending`',
        caller: 'RESOURCE_EXHAUSTED naming the bound, not run; each link keeps a share',
        log: [],
        counters: ['refused_pending_full'],
        test: { file: overload, title: 'limits.pending: what is over it' },
      },
      {
        fault: 'more waiting for a decision than `limits.parked`, `limits.parkedBytes`',
        caller: 'RESOURCE_EXHAUSTED naming the bound, not run; installed flows go on',
        log: [],
        counters: ['refused_parked_full'],
        test: { file: overload, title: 'limits.parked: while decisions are awaited' },
      },
      {
        fault:
          'more waiting until the instances of their service are known, or (`waitForReady`) until there is one, than `limits.waiting`, `limits.waitingBytes`',
        caller: 'RESOURCE_EXHAUSTED naming the bound, not run; each service, and each link, keeps a share',
        log: [],
        counters: ['refused_waiting_full'],
        test: { file: firstCalls, title: 'limits.waiting: a service whose list does not come' },
      },
      {
        fault: 'new kinds of requests faster than `limits.upcallsPerSecondPerLink`',
        caller: 'RESOURCE_EXHAUSTED naming the bound, not run',
        log: [],
        counters: ['refused_miss_rate', 'flow_evictions'],
        test: { file: overload, title: 'limits.upcallsPerSecondPerLink and limits.flows' },
      },
      {
        fault:
          'a main thread of the agent that is behind with its decisions, by more bytes than `limits.parkedBytes` and 4 MiB',
        caller: 'RESOURCE_EXHAUSTED saying so, not run; installed flows go on',
        log: [],
        counters: ['refused_upcalls_full'],
        test: { file: overload, title: 'a main thread that is busy' },
      },
      {
        fault: 'more of the legacy protocol than `limits.legacyBytes`',
        caller: 'an error line or RESOURCE_EXHAUSTED naming the bound; other connections notice nothing',
        log: [],
        counters: ['refused_legacy_full'],
        test: { file: 'native/test/engine/legacy_test.cc', title: 'TogetherTheyHoldNoMoreThanTheBound' },
      },
      {
        fault: 'a peer that reads slower than `limits.outboundBytesPerLink` allows',
        caller:
          'RESOURCE_EXHAUSTED naming the bound, not run if it was the request; each caller keeps a share, others notice nothing',
        log: [],
        counters: ['refused_outbound_full'],
        test: { file: overload, title: 'limits.outboundBytesPerLink: a server that does not read' },
      },
      {
        fault: 'more bodies in pieces than `limits.streamsPerLink`',
        caller: 'RESOURCE_EXHAUSTED naming the bound; each caller keeps a share',
        log: [],
        counters: ['refused_streams_full'],
        test: { file: overload, title: 'limits.streamsPerLink: large bodies over it' },
      },
      {
        fault: 'one caller that takes all it can get of a server that does not read',
        caller: 'RESOURCE_EXHAUSTED naming the bound at two thirds of it; calls of others find room',
        log: [],
        counters: ['refused_outbound_full', 'refused_streams_full'],
        test: { file: overload, title: 'a caller that floods a server which does not read' },
      },
      {
        fault: 'more links than `limits.links`, `limits.linksPerUid`, `limits.linksPerAddress`',
        caller: '`connect` and `serve`: UNAVAILABLE naming the bound, not run; in when there is room',
        log: [],
        counters: ['links_refused'],
        test: { file: overload, title: 'limits.links and limits.linksPerUid' },
      },
      {
        fault:
          'one side that opens all the links it can get: over TCP, from other agents, by silent connections',
        caller:
          'refused: RESOURCE_EXHAUSTED naming `limits.links` at a half or four fifths of it; apps on the socket and calls to other agents find room; silent connections go first',
        log: [],
        counters: ['links_refused', 'links_crowded_out'],
        test: {
          file: 'native/test/engine/link_shares_test.cc',
          title: 'ConnectionsOverTcpLeaveRoomForAppsOnTheSocketAndForTheAgentsOwnLinks',
        },
      },
      {
        fault: 'one application behind another agent that leaves all the requests open that it can',
        caller: 'RESOURCE_EXHAUSTED naming `limits.pending`, not run; others behind that agent find room',
        log: [],
        counters: ['refused_pending_full'],
        test: {
          file: 'native/test/hostile/pending_shares_test.cc',
          title: 'AnAppBehindAnotherAgentLeavesRoomForTheOthersBehindIt',
        },
      },
      {
        fault: 'one caller whose slow requests keep the connections to an old server busy',
        caller: 'its further requests wait behind its own; those of others find a connection',
        log: [],
        counters: [],
        test: {
          file: 'native/test/hostile/pending_shares_test.cc',
          title: 'ACallerWithSlowRequestsLeavesConnectionsToAnOldServerToOthers',
        },
      },
      {
        fault: 'one application that publishes all it can of `limits.publications`',
        caller:
          '`serve`: RESOURCE_EXHAUSTED naming the bound at four fifths of it, not run; others may publish',
        log: [],
        counters: [],
        test: { file: 'test/agent/inbound.test.ts', title: 'leaves room for other applications' },
      },
      {
        fault: "one application that takes all it can get of a server's `maxConcurrentRequests`",
        caller:
          'RESOURCE_EXHAUSTED naming the bound at four fifths of it, not run; calls of others find room',
        log: [],
        counters: [],
        test: { file: 'test/sdk/calls-and-handlers.test.ts', title: 'requests at once are shared out' },
      },
      {
        fault:
          'one application that sends more large bodies to a server than its `maxStreams`, `maxStreamBytes`',
        caller: 'RESOURCE_EXHAUSTED naming the bound, not run; bodies of others find room',
        log: [],
        counters: [],
        test: { file: 'test/sdk/incoming-stream.test.ts', title: 'one caller that sends all it may' },
      },
    ],
  },
  {
    title: 'Hostile peers',
    faults: [
      {
        fault: 'names of services that callers invent',
        caller:
          'UNAVAILABLE, not run; no key stays in Redis, no series of metrics, and soon nobody follows them',
        log: [],
        counters: [],
        test: { file: 'test/registry/redis-registry.test.ts', title: 'names without instances leave no key' },
      },
      {
        fault: 'connections to the admin server that say nothing, half a request, or read nothing',
        caller: 'nothing: they make room for new ones, and `/live` is answered',
        log: [],
        counters: [],
        test: {
          file: 'test/admin/admin-server.test.ts',
          title: 'answers beside more connections than it takes',
        },
      },
      {
        fault: 'an app or another agent that breaks the protocol or scribbles over its rings',
        caller: 'of that link: UNAVAILABLE; others notice nothing',
        log: ['link closed'],
        counters: ['protocol_violations', 'stale_replies', 'stale_chunks'],
        test: { file: 'native/test/hostile/attack_rounds_test.cc', title: 'TEST' },
      },
      {
        fault: 'garbage, half frames, slow bytes on any way in',
        caller: 'of that link: a refusal with a status, or its end; others notice nothing',
        log: ['link closed'],
        counters: ['protocol_violations'],
        test: { file: garbage, title: 'EndsItsCallsAndNothingElse' },
      },
      {
        fault: 'a user who may not use the agent comes over the loopback port',
        caller:
          'its own: UNAVAILABLE, not run, with a text that names its uid and loopback.allowUids; nobody else notices',
        log: [],
        counters: ['links_refused'],
        test: {
          file: 'test/e2e/loopback-users.test.ts',
          title: 'neither calls nor publishes nor registers over the loopback port',
        },
      },
      {
        fault: "somebody else listens where an application's agent should be",
        caller: 'UNAVAILABLE, not run, with a text that names the uid and agentUids; nothing was sent',
        log: [],
        counters: [],
        test: { file: 'test/e2e/foreign-agents.test.ts', title: 'nothing is said' },
      },
      {
        fault: 'an agent that lies to its apps',
        caller: 'each call ends with a reply or a status, at its deadline at the latest; handlers serve on',
        log: [],
        counters: [],
        test: {
          file: 'test/sdk-hostile/hostile-agent.test.ts',
          title: 'calls settle, whatever their agent answers',
        },
      },
    ],
  },
];

/** What the first row whose fault contains `words` says of the refused ones, for tests to expect. */
export function refusalBy(words: string): { status: string; notRun: boolean; counter: string } {
  const row = faultGroups.flatMap(({ faults }) => faults).find(({ fault }) => fault.includes(words));
  const status = /^[A-Z_]+/.exec(row?.caller ?? '')?.[0];
  const counter = row?.counters[0];
  if (row === undefined || status === undefined || counter === undefined)
    throw new Error(`the table of faults has no refusal by ${words}`);
  return { status, notRun: row.caller.includes('not run'), counter };
}

/** The tables of docs/faults.md. */
export function describeFaults(): string {
  const list = (texts: readonly string[]): string =>
    texts.length === 0 ? '-' : texts.map((text) => `\`${text.trim()}\``).join('<br>');
  return faultGroups
    .map(({ title, faults }) =>
      [
        `## ${title}`,
        '',
        '| fault | what the caller sees | line of the log | counter | tested in |',
        '|---|---|---|---|---|',
        ...faults.map(
          ({ fault, caller, log, counters, test }) =>
            `| ${fault} | ${caller} | ${list(log)} | ${list(counters)} | [${test.file.split('/').at(-1)}](../${test.file}) |`,
        ),
        '',
      ].join('\n'),
    )
    .join('\n');
}
