/** The command line: parses, calls, and turns every failure into one line and an exit code (0 good, 1 bad, 2 wrong usage). */
import { ApiError, ContextInvalid, NodeUnreachable } from '@ringwall/client'
import { Command, CommanderError } from 'commander'
import manifest from '../package.json' with { type: 'json' }
import { QuietFailure, UsageError } from './errors.ts'
import { write } from './output.ts'
import { addDenials } from './programs/denials.ts'
import { addFleet } from './programs/fleet.ts'
import { addIdentity } from './programs/identity.ts'
import { addInsight } from './programs/insight.ts'
import { addKeys } from './programs/keys.ts'
import { addModel } from './programs/model.ts'
import { addNodes } from './programs/nodes.ts'
import { addPeople } from './programs/people.ts'
import { addPolicy } from './programs/policy.ts'
import { addResponse } from './programs/response.ts'
import { addRules } from './programs/rules.ts'
import { addServing } from './programs/serving.ts'
import { addVault } from './programs/vault.ts'

function buildProgram(): Command {
  const program = new Command('ringwall').description('One security layer for everything a team runs.').showHelpAfterError(false)
  program.version(manifest.version, '-V, --version', 'print the version')
  program.configureHelp({ sortSubcommands: false }).helpCommand(false)
  // A verb with subcommands of the same options (approve, approve ls) must not take theirs.
  program.enablePositionalOptions()

  addServing(program)
  addNodes(program)
  addFleet(program)
  addDenials(program)
  addResponse(program)
  addModel(program)
  addIdentity(program)
  addPolicy(program)
  addRules(program)
  addKeys(program)
  addPeople(program)
  addVault(program)
  addInsight(program)
  program
    .command('version')
    .description('of this installation')
    .action(async () => write((await import('@ringwall/node')).VERSION))
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh, fish')
    .description('a completion script: source <(ringwall completion bash)')
    .action(async (shell: string) => write((await import('./completion.ts')).completion(program, shell).trimEnd()))
  return program
}

/** Everywhere: throw instead of exiting, and say nothing that is not said below. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => {} })
  for (const child of command.commands) quiet(child)
}

/** The exit code, after one line that says what is wrong. */
function report(error: unknown): number {
  const say = (line: string): void => void process.stderr.write(`ringwall: ${line}\n`)
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    if (error.code === 'commander.help') {
      process.stderr.write('usage: ringwall COMMAND; ringwall --help lists them\n')
      return 2
    }
    say(error.message.replace(/^error: /, ''))
    return 2
  }
  if (error instanceof QuietFailure) return 1
  if (error instanceof UsageError || error instanceof ContextInvalid) {
    say(error.message)
    return 2
  }
  if (error instanceof ApiError || error instanceof NodeUnreachable) {
    say(error instanceof ApiError && error.status < 500 ? `refused: ${error.message}` : error.message)
    return 1
  }
  const known = error instanceof Error && 'code' in error
  say(error instanceof Error ? `${known ? '' : 'unexpected: '}${error.message}` : String(error))
  return 1
}

/**
 * Whoever reads may stop reading (`| head`), and a disk may be full: neither is a defect to show a stack for. What serves goes on
 * serving: traffic must not end because whoever read its log did.
 */
function watchOutput(stream: NodeJS.WriteStream): void {
  let told = false
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (SERVING.has(process.argv[2] ?? '')) {
      if (!told) process.stderr.write(`ringwall: nobody reads the output (${error.code ?? error.message}); serving goes on\n`)
      told = true
      return
    }
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
    process.stderr.write(`ringwall: the output cannot be written: ${error.code ?? error.message}\n`)
    process.exit(1)
  })
}

/** Commands that run until they are stopped, in front of others' traffic. */
const SERVING: ReadonlySet<string> = new Set(['node', 'protect', 'sidecar', 'up'])

/** When the log's reader and the error's are one and have gone. */
process.stderr.on('error', () => undefined)
watchOutput(process.stdout)
const program = buildProgram()
quiet(program)
try {
  await program.parseAsync(process.argv)
} catch (error) {
  process.exitCode = report(error)
}
