// A filter of your own: a module that the agent loads (`filters` in its configuration) and asks about each request of the
// services named there. It sees the header, never the body; what it answers decides what happens to the request.
// This one keeps a tenant out, sends a few users to the instances of group `canary`, and marks what it has seen.

const canaryUsers = new Set(['ada', 'grace']);

/** @type {import('@ringside/mesh').RequestFilter} */
const canary = {
  name: 'canary',
  // Requests of our own application to others. `inbound` would be those of others to our application.
  directions: ['outbound'],
  onRequest({ attachments, sourceApp }) {
    if (attachments['tenant'] === 'suspended') {
      return { reject: { status: 'PERMISSION_DENIED', message: `the tenant of ${sourceApp} is suspended` } };
    }
    const group = canaryUsers.has(attachments['user'] ?? '') ? 'canary' : 'stable';
    return { route: { group }, attachments: { 'chosen-by': 'canary filter', debug: null } };
  },
};

export { canary as default };
