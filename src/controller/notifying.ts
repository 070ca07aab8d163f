/** From the settings to a notifier: whom there is to tell, and from when on. */
import type { Logger } from "pino";
import { createNotifier, type Notifier } from "../notify/notifier.ts";
import { receiversIn } from "../notify/receivers.ts";
import type { Clock, Random } from "../seams.ts";
import type { NotifySettings } from "../settings.ts";
import type { Metrics } from "./metrics.ts";

export interface NotifyingOptions {
  readonly settings: NotifySettings | undefined;
  /** When the operator before this one was last alive, RFC 3339; undefined when nobody ever led. */
  readonly previousLife: string | undefined;
  /** Told with an investigation's uid when its status is to say what was delivered. */
  readonly onDelivered: (uid: string) => void;
  readonly metrics: Pick<Metrics, "notified">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** States that the operator before this one has reached so long before its end are not told again, in milliseconds. */
const LOOK_BACK_MS = 3_600_000;

/** On a fresh install: times in status are whole seconds, and that of the making is by the API server's clock. */
const SKEW_MS = 60_000;

/** Undefined where nobody is to be told, or where it cannot be found out whom; then the log says why. */
export async function notifying(options: NotifyingOptions): Promise<Notifier | undefined> {
  const { settings, clock, random, log, previousLife, metrics } = options;
  if (settings === undefined) return undefined;
  const { directory, link, messages } = settings;
  try {
    const receivers = await receiversIn(directory);
    log.info({ receivers }, "Tells people");
    const from = previousLife === undefined ? clock.now().getTime() - SKEW_MS : Date.parse(previousLife) - LOOK_BACK_MS;
    return createNotifier({
      directory,
      receivers,
      link,
      kinds: messages,
      horizon: new Date(from).toISOString(),
      clock,
      random,
      log,
      onDelivered: options.onDelivered,
      onOutcome: (receiver, outcome) => metrics.notified(receiver, outcome),
    });
  } catch (error) {
    // Investigations matter more than the news of them.
    log.error({ err: error }, "Cannot tell people; investigations go on");
    return undefined;
  }
}
