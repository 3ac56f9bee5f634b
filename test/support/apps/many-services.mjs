// Serves a number of services by itself, each over a link of its own as if each were an application: `many-services.mjs SOCKET COUNT`. Says so
// over Node's channel when all are published; they are named service-0 and so on, and answer with what they were sent.
const { serve } = await import('../../../dist/index.js');

const [socket, count] = process.argv.slice(2);
const atOnce = 25;
const methods = { echo: ({ body }) => body };

for (let at = 0; at < Number(count); at += atOnce) {
  const names = Array.from({ length: Math.min(atOnce, Number(count) - at) }, (_, i) => `service-${at + i}`);
  await Promise.all(names.map((service) => serve({ service, agent: socket, transport: 'unix', methods })));
}
process.send({ published: Number(count) });
process.on('SIGTERM', () => process.exit(0));
