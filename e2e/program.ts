/** Programs that e2e tests run: started, waited for until they say that they are ready, ended. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { CLI } from './local-ring.ts'

export interface Program {
  readonly process: ChildProcess
  /** What it wrote to its output until now. */
  said(): string
  /** By SIGTERM, once it is gone. */
  end(): Promise<void>
}

/** @throws When the program ends before it says that it is ready. */
export async function startProgram(file: string, args: readonly string[], ready: string): Promise<Program> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  await new Promise<void>((settle, refuse) => {
    // Read on for good: a program that nobody listens to stands still.
    child.stdout.on('data', (chunk: Buffer) => {
      said += String(chunk)
      if (said.includes(ready)) settle()
    })
    child.once('exit', (code) => refuse(new Error(`${args[0] ?? file} ended with ${code}: ${said}`)))
  })
  return {
    process: child,
    said: () => said,
    end: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** `ringwall protect URL --listen 127.0.0.1:PORT --data DATA` and more. */
export function startProtect(url: string, port: number, data: string, ...more: readonly string[]): Promise<Program> {
  return startProgram(CLI, ['protect', url, '--listen', `127.0.0.1:${port}`, '--data', data, ...more], 'ready in')
}
