import { AsyncLocalStorage } from 'node:async_hooks';

/** Whether the answer to the HTTP request that is being handled reached its caller. */
const current = new AsyncLocalStorage<Promise<boolean>>();

/** Runs the handling of a request whose delivery `delivered` tells. */
export function whileDelivering<T>(delivered: Promise<boolean>, handle: () => T): T {
  return current.run(delivered, handle);
}

/** True for transports that do not tell, such as stdio: there a lost answer means that the caller is gone. */
export function deliveryOfThisCall(): Promise<boolean> {
  return current.getStore() ?? Promise.resolve(true);
}
