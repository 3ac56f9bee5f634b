import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Publications } from '../../src/agent/publications.js';
import type { Publication, Server } from '../../src/agent/publications.js';

const servers: Server[] = [
  { link: 1 },
  { link: 2 },
  { address: '127.0.0.1:1', protocol: 'mesh' },
  { address: '127.0.0.1:1', protocol: 'legacy' },
];
const step = fc.record({
  add: fc.boolean(),
  server: fc.constantFrom(...servers),
  service: fc.constantFrom('a', 'b', 'a\nb'),
  group: fc.constantFrom('', 'b', 'b\n'),
});

it('finds by service, by server and by offer what a look through all of them finds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const publications = new Publications();
      let all: Publication[] = [];
      for (const [i, { add, server, service, group }] of steps.entries()) {
        const is = (p: Publication): boolean =>
          p.server === server && p.service === service && p.group === group;
        if (add) {
          const registration = undefined;
          const one = {
            server,
            service,
            group,
            version: '',
            weight: 1,
            key: String(i),
            registration,
            ended: false,
          };
          publications.add(one);
          all.push(one);
        } else {
          const gone = all.find(is);
          if (gone !== undefined) publications.delete(gone);
          all = all.filter((p) => p !== gone);
        }
        expect(publications.find(server, { service, group })).toBe(all.find(is));
        expect([...publications.ofService(service)]).toEqual(all.filter((p) => p.service === service));
        expect([...publications.ofServer(server)]).toEqual(all.filter((p) => p.server === server));
        expect([...publications]).toEqual(all);
        expect(publications.size).toBe(all.length);
      }
    }),
  );
});
