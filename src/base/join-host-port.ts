// A host and a port as one address, the way all of Ringside writes it: in configurations, in the registry, in logs.

/** `host:port`; a host with colons (IPv6) in brackets. */
export function joinHostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
