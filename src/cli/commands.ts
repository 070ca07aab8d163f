/** Every command, in the order in which the help lists them. */
import { analyzeCommand } from "./analyzecommand.ts";
import { approveCommand } from "./approvecommand.ts";
import { cgroupCommand } from "./cgroupcommand.ts";
import { collectCommand } from "./collectcommand.ts";
import type { Command } from "./command.ts";
import { completionCommand } from "./completioncommand.ts";
import { denyCommand } from "./denycommand.ts";
import { doctorCommand } from "./doctorcommand.ts";
import { evidenceCommand } from "./evidencecommand.ts";
import { explainCommand } from "./explaincommand.ts";
import { growthCommand } from "./growthcommand.ts";
import { investigateCommand } from "./investigatecommand.ts";
import { listCommand } from "./listcommand.ts";
import { packCommand } from "./packcommand.ts";
import { perfCheckCommand } from "./perfcheckcommand.ts";
import { releaseCommand } from "./releasecommand.ts";
import { reportCommand } from "./reportcommand.ts";
import { sceneCommand } from "./scenecommand.ts";
import { showCommand } from "./showcommand.ts";
import { smapsCommand } from "./smapscommand.ts";
import { watchCommand } from "./watchcommand.ts";

export const COMMANDS: readonly Command[] = [
  collectCommand,
  analyzeCommand,
  reportCommand,
  sceneCommand,
  cgroupCommand,
  smapsCommand,
  growthCommand,
  perfCheckCommand,
  packCommand,
  investigateCommand,
  watchCommand,
  listCommand,
  showCommand,
  explainCommand,
  doctorCommand,
  approveCommand,
  denyCommand,
  releaseCommand,
  evidenceCommand,
  completionCommand,
];
