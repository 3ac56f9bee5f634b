/** Which balancer picks the endpoints of a service: what the configuration says for it, else the default. */

/** The part of the configuration that this reads. */
export interface BalancerChoice<B extends string> {
  readonly default: B;
  readonly services: Readonly<Record<string, B>>;
}

/** The balancer of a service; names such as `constructor` are services like any other. */
export function balancerOf<B extends string>(service: string, choice: BalancerChoice<B>): B {
  return (Object.hasOwn(choice.services, service) ? choice.services[service] : undefined) ?? choice.default;
}
