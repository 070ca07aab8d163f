/** Property tests run from one seed, so that a red run can be repeated. FAST_CHECK_SEED explores others. */
import { configureGlobal } from "fast-check";

configureGlobal({ seed: Number(process.env["FAST_CHECK_SEED"] ?? 20_261_123) });
