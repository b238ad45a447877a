/** One node in the foreground, in a process that its profile asks for. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { becomeEdge, type EdgeProgram } from '@ringwall/node/edge-process'
import { parse } from 'yaml'

/** @returns The exit code; an edge's process goes on as another program, and never comes back here. */
export async function runOneNode(program: EdgeProgram): Promise<number> {
  if (isEdge(program)) becomeEdge(program)
  const { runDevice, runNode } = await import('@ringwall/node')
  return 'device' in program ? runDevice(program.device, program.wishes) : runNode(program.config, program.takeOver)
}

function isEdge(program: EdgeProgram): boolean {
  const file = 'device' in program ? join(program.device, 'node', 'node.yaml') : program.config
  // A device that joins now is what it was told to be.
  if ('device' in program && !existsSync(file)) return program.wishes.profile === 'edge'
  try {
    const settings: unknown = parse(readFileSync(file, 'utf8'), { maxAliasCount: 0 })
    return typeof settings === 'object' && settings !== null && 'profile' in settings && settings.profile === 'edge'
  } catch {
    // Whoever reads it for good says what is wrong with it.
    return false
  }
}
