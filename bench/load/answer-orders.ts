// The frame of both applications: carries out the harness's orders one at a time, answers each with what came of it, and ends with the
// harness, however that ends. Nothing is closed first: what they hold ends with them.

/** Answers the harness until it has gone or asks to stop. */
export function answerOrders<Order>(carryOut: (order: Order) => Promise<object>): void {
  process.on('message', (order: Order) => {
    carryOut(order).then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ failed: error instanceof Error ? error.message : String(error) }),
    );
  });
  for (const end of ['SIGTERM', 'SIGINT', 'disconnect']) process.once(end, () => process.exit(0));
}
