import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fileNameOf, writeInstanceFile } from '../../src/registry/embedded/instance-file.js';
import type { Instance } from '../../src/registry/instance.js';
import { ManualClock } from './manual-clock.js';
import {
  eventually,
  instanceOf,
  LEASE_MS,
  recorder,
  SWEEP_MS,
  useRegistryDirectory,
} from './registry-fixture.js';

const fixture = useRegistryDirectory();
const pathOf = (instance: Instance) => join(fixture.directory, fileNameOf(instance));
/** What an agent leaves behind that was killed. */
const orphan = (instance: Instance, clock: ManualClock, phase = 1) =>
  writeInstanceFile(fixture.directory, { instance, leaseMs: LEASE_MS }, 0o600, {
    wallMs: clock.wallMs(),
    phase,
  });

describe('registering and watching', () => {
  it('tells the list once it was read, then each change, to every registry on the directory', async () => {
    const here = await fixture.open();
    const there = await fixture.open();
    const seen = recorder();
    there.watch('orders', undefined, seen.listener);
    expect(seen.lists).toEqual([]);
    await eventually(() => expect(seen.lists).toEqual([[]]));

    const registration = await here.register(instanceOf());
    await eventually(() => expect(seen.last()).toEqual(['a-1@1.0']));
    await registration.update({ version: '1.1' });
    expect(registration.instance.version).toBe('1.1');
    await eventually(() => expect(seen.last()).toEqual(['a-1@1.1']));
    await registration.deregister();
    await eventually(() => expect(seen.last()).toEqual([]));
    await registration.deregister();
    await expect(registration.update({ weight: 1 })).rejects.toThrow('not registered any more');
    expect([...here.problems, ...there.problems]).toEqual([]);
  });

  it('reads the directory for a service nobody asked for yet, so that the first list has who came a moment ago', async () => {
    const here = await fixture.open();
    const there = await fixture.open();
    for (const service of ['orders', 'stock', 'ledger']) {
      const seen = recorder();
      await here.register(instanceOf({ id: `of-${service}`, service }));
      there.watch(service, undefined, seen.listener);
      await eventually(() => expect(seen.lists.length).toBeGreaterThan(0));
      expect(seen.lists[0]).toEqual([`of-${service}@1.0`]);
    }
  });

  it('a list that is known is told at once; one whose watch has ended is not', async () => {
    const registry = await fixture.open();
    const [before, known, left] = [recorder(), recorder(), recorder()];
    registry.watch('orders', undefined, before.listener);
    await registry.register(instanceOf());
    registry.watch('orders', undefined, known.listener);
    expect(known.lists).toEqual([['a-1@1.0']]);
    registry.watch('stock', undefined, left.listener)();
    await registry.refresh();
    await registry.refresh();
    expect(left.lists).toEqual([]);
  });

  it('has told our own watchers when register, update and deregister resolve', async () => {
    const registry = await fixture.open({ clock: new ManualClock() });
    const seen = recorder();
    registry.watch('orders', '', seen.listener);
    const registration = await registry.register(instanceOf());
    expect(seen.last()).toEqual(['a-1@1.0']);
    await registration.update({ version: '2' });
    expect(seen.last()).toEqual(['a-1@2']);
    await registration.deregister();
    expect(seen.lists).toEqual([[], ['a-1@1.0'], ['a-1@2'], []]);
  });

  it('tells each watcher its service and group only, sorted by id, and nothing after it left', async () => {
    const registry = await fixture.open({ clock: new ManualClock() });
    const [all, red, other] = [recorder(), recorder(), recorder()];
    registry.watch('orders', '*', all.listener);
    const leave = registry.watch('orders', 'red', red.listener);
    registry.watch('stock', undefined, other.listener);
    await registry.register(instanceOf({ id: 'b', group: 'red' }));
    await registry.register(instanceOf({ id: 'a', group: 'blue' }));
    expect(all.last()).toEqual(['a@1.0', 'b@1.0']);
    expect(red.lists).toEqual([[], ['b@1.0']]);
    expect(other.lists).toEqual([[]]);
    leave();
    await registry.register(instanceOf({ id: 'c', group: 'red' }));
    expect(red.lists).toHaveLength(2);
    expect(all.last()).toEqual(['a@1.0', 'b@1.0', 'c@1.0']);
  });

  it('survives a watcher that throws, and one that leaves while it is told', async () => {
    const registry = await fixture.open({ clock: new ManualClock() });
    const seen = recorder();
    registry.watch('orders', undefined, (list) => {
      if (list.length > 0) throw new Error('no');
    });
    const leave = registry.watch('orders', undefined, (list) => {
      if (list.length > 0) leave();
    });
    registry.watch('orders', undefined, seen.listener);
    await registry.register(instanceOf());
    expect(seen.last()).toEqual(['a-1@1.0']);
  });

  it('sees every one of many updates of the same size, though inode numbers come again', async () => {
    const clock = new ManualClock();
    const [here, there] = [await fixture.open({ clock }), await fixture.open({ clock: new ManualClock() })];
    const seen = recorder();
    there.watch('orders', undefined, seen.listener);
    const registration = await here.register(instanceOf({ version: '100' }));
    for (let version = 101; version < 140; version++) {
      await registration.update({ version: String(version) });
      // Every second one only: the file system may give the inode number of the file before the last.
      if (version % 2 === 0) continue;
      await there.refresh();
      expect(seen.last()).toEqual([`a-1@${version}`]);
    }
  });

  it('refuses what its peers would refuse', async () => {
    const registry = await fixture.open();
    const wrong = [
      { host: 'localhost' },
      { port: 0 },
      { service: '' },
      { id: 'a\nb' },
      { weight: -1 },
      { service: 'x'.repeat(257) },
    ];
    for (const change of wrong) {
      await expect(registry.register(instanceOf(change))).rejects.toMatchObject({
        status: 'INVALID_ARGUMENT',
      });
    }
    const registration = await registry.register(instanceOf());
    await expect(registry.register(instanceOf())).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
    await expect(registration.update({ port: 70_000 })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    expect(registration.instance.port).toBe(15_101);
  });

  it('keeps its limits and says so', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock, maxInstances: 2, maxServices: 1 });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    registry.watch('orders', 'x', () => undefined);
    expect(() => registry.watch('stock', undefined, () => undefined)).toThrow(
      '1 services are watched already',
    );
    await orphan(instanceOf({ id: 'a' }), clock);
    await orphan(instanceOf({ id: 'b' }), clock);
    await registry.refresh();
    for (let i = 0; i < 20; i++) await orphan(instanceOf({ id: `more-${i}` }), clock);
    await registry.refresh();
    expect(seen.last()).toEqual(['a@1.0', 'b@1.0']);
    expect(registry.problem).toContain('more than 2 instance files');
  });
});

describe('leases', () => {
  it('end when nobody renews, and the file goes a lease later', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await orphan(instanceOf(), clock);
    await registry.refresh();
    expect(seen.last()).toEqual(['a-1@1.0']);
    for (let ms = 0; ms < LEASE_MS - 2 * SWEEP_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
      expect(seen.last()).toEqual(['a-1@1.0']);
    }
    for (let ms = 0; ms < 3 * SWEEP_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    expect(seen.last()).toEqual([]);
    expect(existsSync(pathOf(instanceOf()))).toBe(true);
    for (let ms = 0; ms < LEASE_MS + SWEEP_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    await eventually(() => expect(existsSync(pathOf(instanceOf()))).toBe(false));
  });

  it('are renewed, and a renewal is no change', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const lists: (readonly Instance[])[] = [];
    registry.watch('orders', undefined, (list) => lists.push(list));
    await registry.register(instanceOf());
    for (let round = 0; round < 10; round++) {
      const before = statSync(pathOf(instanceOf())).mtimeMs;
      clock.advance(LEASE_MS / 3);
      await eventually(() => expect(statSync(pathOf(instanceOf())).mtimeMs).toBeGreaterThan(before));
      await registry.refresh();
    }
    expect(lists.map((list) => list.length)).toEqual([0, 1]);
  });

  it('that ended long ago are not believed by a newcomer', async () => {
    const clock = new ManualClock();
    mkdirSync(fixture.directory, { mode: 0o700 });
    await orphan(instanceOf(), clock);
    clock.freeze(LEASE_MS + 100);
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await eventually(() => expect(seen.lists).toEqual([[]]));
  });

  it.each([
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ])('outlive a wall clock that jumps %s', async (_way, ms) => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await registry.register(instanceOf());
    clock.jump(ms);
    for (let round = 0; round < 8; round++) {
      const before = statSync(pathOf(instanceOf())).mtimeMs;
      clock.advance(LEASE_MS / 3);
      await eventually(() => expect(statSync(pathOf(instanceOf())).mtimeMs).not.toBe(before));
      await registry.refresh();
    }
    expect(seen.lists).toEqual([[], ['a-1@1.0']]);
  });

  describe.each([
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ])('of a wall clock that jumped %s', (_way, ms) => {
    it('a newcomer sees nothing: who lives is live, who died is not', async () => {
      const clock = new ManualClock();
      const owner = await fixture.open({ clock });
      await owner.register(instanceOf({ id: 'lives' }));
      const dying = await fixture.open({ clock });
      await dying.register(instanceOf({ id: 'died' }));
      const left = readFileSync(pathOf(instanceOf({ id: 'died' })));
      await dying.close();
      clock.jump(ms);
      // As an agent leaves it that was killed a lease ago, by the time before the jump.
      writeFileSync(pathOf(instanceOf({ id: 'died' })), left);
      utimesSync(pathOf(instanceOf({ id: 'died' })), 0, (clock.wallMs() - ms - LEASE_MS - 100) / 1000);
      const newcomer = await fixture.open({ clock });
      const seen = recorder();
      newcomer.watch('orders', undefined, seen.listener);
      expect(seen.lists).toEqual([['lives@1.0']]);
    });

    it('who takes over sees nothing, before and after its first renewal', async () => {
      const clock = new ManualClock();
      const old = await fixture.open({ clock });
      await old.register(instanceOf());
      clock.jump(ms);
      const next = await fixture.open({ clock });
      const seen = recorder();
      next.watch('orders', undefined, seen.listener);
      await next.register(instanceOf());
      const newcomer = await fixture.open({ clock });
      newcomer.watch('orders', undefined, seen.listener);
      expect(seen.lists).toEqual([['a-1@1.0'], ['a-1@1.0']]);
    });

    it('files of an earlier version are written again while the clock still goes', async () => {
      const clock = new ManualClock();
      mkdirSync(fixture.directory, { mode: 0o700 });
      await orphan(instanceOf(), clock);
      expect(readFileSync(pathOf(instanceOf()), 'utf8')).not.toContain('"clock"');
      const next = await fixture.open({ clock, random: () => 0.1 });
      const seen = recorder();
      next.watch('orders', undefined, seen.listener);
      await next.register(instanceOf());
      clock.advance(LEASE_MS / 3);
      await eventually(() => expect(readFileSync(pathOf(instanceOf()), 'utf8')).toContain('"clock"'));
      clock.jump(ms);
      const newcomer = await fixture.open({ clock });
      newcomer.watch('orders', undefined, seen.listener);
      expect(seen.lists).toEqual([['a-1@1.0'], ['a-1@1.0']]);
    });
  });

  it('of another machine, or of another start of this one, are read by the wall clock', async () => {
    const clock = new ManualClock();
    const there = await fixture.open({ clock });
    await there.register(instanceOf());
    const here = new ManualClock();
    here.monotonicId = 'another';
    here.freeze(1_000_000);
    here.jump(clock.wallMs() - here.wallMs());
    const seen = recorder();
    (await fixture.open({ clock: here })).watch('orders', undefined, seen.listener);
    here.jump(LEASE_MS + 100);
    const later = await fixture.open({ clock: here });
    later.watch('orders', undefined, seen.listener);
    await later.refresh();
    expect(seen.lists).toEqual([['a-1@1.0'], []]);
  });

  it('of the dead end though the wall clock jumped back', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await orphan(instanceOf(), clock);
    await registry.refresh();
    clock.jump(-3_600_000);
    for (let ms = 0; ms <= LEASE_MS + SWEEP_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    expect(seen.last()).toEqual([]);
  });

  it('get time for one renewal after everybody was suspended', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await orphan(instanceOf({ id: 'slow' }), clock);
    await orphan(instanceOf({ id: 'dead' }), clock, 2);
    await registry.refresh();
    clock.freeze(60_000);
    await registry.refresh();
    expect(seen.last()).toEqual(['dead@1.0', 'slow@1.0']);
    for (let ms = 0; ms < LEASE_MS; ms += SWEEP_MS) {
      utimesSync(
        pathOf(instanceOf({ id: 'slow' })),
        clock.wallMs() / 1000,
        Math.floor(clock.wallMs() / 1000) + 1 / 65_536,
      );
      expect(seen.last()).toEqual(['dead@1.0', 'slow@1.0']);
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    expect(seen.last()).toEqual(['slow@1.0']);
  });
});

describe('when somebody meddles', () => {
  it('a removed file is written again', async () => {
    const registry = await fixture.open();
    await registry.register(instanceOf());
    unlinkSync(pathOf(instanceOf()));
    await eventually(() => expect(existsSync(pathOf(instanceOf()))).toBe(true));
  });

  it('a removed directory is made again, and nobody is missed in between', async () => {
    const clock = new ManualClock();
    const [here, there] = [await fixture.open({ clock }), await fixture.open({ clock })];
    const seen = recorder();
    there.watch('orders', undefined, seen.listener);
    await here.register(instanceOf());
    await there.refresh();
    rmSync(fixture.directory, { recursive: true });
    await there.refresh();
    await there.refresh();
    await here.refresh();
    await eventually(() => expect(existsSync(pathOf(instanceOf()))).toBe(true));
    await there.refresh();
    expect(seen.lists).toEqual([[], ['a-1@1.0']]);
    expect(statSync(fixture.directory).mode & 0o777).toBe(0o700);
  });

  it('a directory that cannot be read leaves the last list, is reported once, and is tried again', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await registry.register(instanceOf());
    renameSync(fixture.directory, `${fixture.directory}-away`);
    writeFileSync(fixture.directory, 'not a directory');
    for (let ms = 0; ms < 3 * LEASE_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    expect(seen.lists).toEqual([[], ['a-1@1.0']]);
    await eventually(() => expect(registry.problem).toContain('the lease of a-1 cannot be renewed'));
    expect(registry.problem).toContain(`the registry's directory ${fixture.directory} cannot be read`);
    // What it has read stays good.
    expect(registry.usable).toBe(true);
    expect(registry.problemsBySource).toEqual([
      expect.stringMatching(/^directory: /),
      expect.stringMatching(/^lease .*: /),
    ]);
    expect(registry.problems).toHaveLength(2);

    rmSync(fixture.directory);
    renameSync(`${fixture.directory}-away`, fixture.directory);
    clock.advance(LEASE_MS / 3);
    await eventually(async () => {
      await registry.refresh();
      expect(registry.problem).toBe(null);
    });
    await registry.refresh();
    expect(registry.problem).toBe(null);
    expect(seen.lists).toEqual([[], ['a-1@1.0']]);
  });

  it('an update that could not be written is written with the next renewal', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    const registration = await registry.register(instanceOf());
    renameSync(fixture.directory, `${fixture.directory}-away`);
    writeFileSync(fixture.directory, 'not a directory');
    await expect(registration.update({ version: '2' })).rejects.toMatchObject({ status: 'UNAVAILABLE' });
    rmSync(fixture.directory);
    renameSync(`${fixture.directory}-away`, fixture.directory);
    await registry.refresh();
    expect(seen.last()).toEqual(['a-1@1.0']);
    clock.advance(LEASE_MS / 3);
    await eventually(() => expect(seen.last()).toEqual(['a-1@2']));
  });

  it('a directory that cannot be read at the start is reported, and read as soon as it can be', async () => {
    writeFileSync(fixture.directory, 'not a directory');
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    expect(registry.problems).toEqual([expect.stringContaining(`${fixture.directory} cannot be read`)]);
    expect(registry.usable).toBe(false);
    expect(registry.problemsBySource).toEqual([expect.stringMatching(/^directory: .* cannot be read/)]);
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    expect(seen.lists).toEqual([]);
    await expect(registry.register(instanceOf())).rejects.toMatchObject({ status: 'UNAVAILABLE' });
    rmSync(fixture.directory);
    clock.advance(SWEEP_MS);
    await eventually(() => expect(seen.lists).toEqual([[]]));
    expect(registry.usable).toBe(true);
    expect(registry.problemsBySource).toEqual([]);
    expect(registry.problem).toBe(null);
  });

  it('whom nobody could see at the start of a process gets time to renew, as in one that ran before', async () => {
    const clock = new ManualClock();
    mkdirSync(fixture.directory, { mode: 0o700 });
    await orphan(instanceOf(), clock);
    renameSync(fixture.directory, `${fixture.directory}-away`);
    writeFileSync(fixture.directory, 'not a directory');
    clock.advance(2 * LEASE_MS);
    const newcomer = await fixture.open({ clock });
    const seen = recorder();
    newcomer.watch('orders', undefined, seen.listener);
    rmSync(fixture.directory);
    renameSync(`${fixture.directory}-away`, fixture.directory);
    await newcomer.refresh();
    expect(seen.lists).toEqual([['a-1@1.0']]);
    // The dead do not renew.
    for (let ms = 0; ms < LEASE_MS; ms += SWEEP_MS) {
      expect(seen.lists).toEqual([['a-1@1.0']]);
      clock.advance(SWEEP_MS);
      await newcomer.refresh();
    }
    expect(seen.lists).toEqual([['a-1@1.0'], []]);
  });

  it('a directory that everyone may write is not believed', async () => {
    const registry = await fixture.open();
    chmodSync(fixture.directory, 0o777);
    await registry.refresh();
    expect(registry.problem).toContain('may be written by everyone');
    chmodSync(fixture.directory, 0o700);
    await registry.refresh();
    expect(registry.problem).toBe(null);
  });

  it.runIf(process.getuid?.() === 0)(
    'a directory of another user is not believed, unless it is shared with us',
    async () => {
      const registry = await fixture.open();
      chownSync(fixture.directory, 12_345, 12_345);
      await registry.refresh();
      expect(registry.problem).toContain('belongs to user 12345');
      chmodSync(fixture.directory, 0o770);
      await registry.refresh();
      expect(registry.problem).toContain('belongs to user 12345');
      chownSync(fixture.directory, 12_345, process.getgid?.() ?? 0);
      await registry.refresh();
      expect(registry.problem).toBe(null);
    },
  );

  it('a file that turns to garbage leaves the instance until its lease ends', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    await orphan(instanceOf(), clock);
    await registry.refresh();
    writeFileSync(pathOf(instanceOf()), '{"format": 1, "lea');
    await registry.refresh();
    await registry.refresh();
    expect(seen.last()).toEqual(['a-1@1.0']);
    expect(registry.problems).toEqual([expect.stringContaining('is not JSON')]);
    await orphan(instanceOf({ version: '2' }), clock, 3);
    await registry.refresh();
    expect(seen.last()).toEqual(['a-1@2']);
    expect(registry.problems.at(-1)).toBe(null);

    writeFileSync(pathOf(instanceOf()), 'x');
    for (let ms = 0; ms <= LEASE_MS; ms += SWEEP_MS) {
      clock.advance(SWEEP_MS);
      await registry.refresh();
    }
    expect(seen.last()).toEqual([]);
  });

  it('our own file that turns to garbage is written again', async () => {
    const registry = await fixture.open();
    await registry.register(instanceOf());
    writeFileSync(pathOf(instanceOf()), 'x');
    await registry.refresh();
    await eventually(async () => {
      await registry.refresh();
      expect(statSync(pathOf(instanceOf())).size).toBeGreaterThan(1);
      expect(registry.problem).toBe(null);
    });
  });

  it('what a dead writer left is cleared away', async () => {
    const clock = new ManualClock();
    const registry = await fixture.open({ clock });
    const leftover = join(fixture.directory, '.tmp-1-abc');
    writeFileSync(leftover, 'half');
    await registry.refresh();
    clock.jump(3_600_000);
    clock.advance(SWEEP_MS);
    await registry.refresh();
    expect(existsSync(leftover)).toBe(true);
    clock.freeze(600_000);
    clock.advance(SWEEP_MS);
    await eventually(() => expect(existsSync(leftover)).toBe(false));
    expect(registry.problem).toBe(null);
  });
});

describe('taking over', () => {
  it('goes on with the file of the process before, which also a full disk allows', async () => {
    const clock = new ManualClock();
    const [old, next, reader] = [
      await fixture.open({ clock }),
      await fixture.open({ clock }),
      await fixture.open({ clock }),
    ];
    const seen = recorder();
    reader.watch('orders', undefined, seen.listener);
    await old.register(instanceOf());
    await reader.refresh();
    const before = statSync(pathOf(instanceOf()));
    clock.advance(LEASE_MS / 10);
    const kept = await next.register(instanceOf());
    const after = statSync(pathOf(instanceOf()));
    expect(after.ino).toBe(before.ino);
    expect(after.mtimeMs).toBeGreaterThan(before.mtimeMs);
    await reader.refresh();
    expect(seen.lists).toEqual([[], ['a-1@1.0']]);
    await kept.update({ version: '2.0' });
    await reader.refresh();
    expect(seen.last()).toEqual(['a-1@2.0']);
    // Another lease is other content.
    const longer = await fixture.open({ clock, leaseMs: 2 * LEASE_MS });
    await longer.register({ ...instanceOf({ version: '2.0' }) });
    expect(readFileSync(pathOf(instanceOf()), 'utf8')).toContain(`"leaseMs": ${2 * LEASE_MS}`);
  });

  it('the newer registration stands, and the older one leaves it alone', async () => {
    const clock = new ManualClock();
    const [old, next] = [await fixture.open({ clock }), await fixture.open({ clock })];
    const seen = recorder();
    old.watch('orders', undefined, seen.listener);
    const before = await old.register(instanceOf({ epoch: 1 }));
    await next.register(instanceOf({ epoch: 2, version: '2.0' }));
    await old.refresh();
    expect(seen.last()).toEqual(['a-1@2.0']);
    clock.advance(LEASE_MS / 3);
    await eventually(() => expect(old.problem).toContain('registered again by a newer process'));
    await expect(before.update({ weight: 1 })).rejects.toThrow('not registered any more');
    await before.deregister();
    expect(old.problem).toBe(null);
    await old.refresh();
    expect(seen.last()).toEqual(['a-1@2.0']);
    await expect(old.register(instanceOf({ epoch: 1 }))).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  });
});

describe('closing', () => {
  it('deregisters everything and leaves nothing behind', async () => {
    const registry = await fixture.open();
    for (const id of ['a', 'b', 'c']) await registry.register(instanceOf({ id }));
    expect(readdirSync(fixture.directory)).toHaveLength(3);
    await registry.close();
    await registry.close();
    expect(readdirSync(fixture.directory)).toEqual([]);
    await expect(registry.register(instanceOf())).rejects.toThrow('closed');
  });
});
