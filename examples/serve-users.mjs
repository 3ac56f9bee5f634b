// A service behind its agent. The agent publishes it; SIGTERM withdraws it first, so that no caller sees it go.
import { MeshError, serve } from '@ringside/mesh';

const users = new Map([[7, { id: 7, name: 'Ada' }]]);

const server = await serve({
  app: 'users',
  service: 'user-service',
  methods: {
    get: (request) => {
      const { id } = JSON.parse(request.body.toString());
      const user = users.get(id);
      if (user === undefined) throw new MeshError('NOT_FOUND', `no user ${id}`);
      return JSON.stringify(user);
    },
    put: (request) => {
      const user = JSON.parse(request.body.toString());
      users.set(user.id, user);
    },
  },
});
console.log(`serving over ${server.transport}`);

process.once('SIGTERM', () => void server.close());
process.once('SIGINT', () => void server.close());
