/** Where the ceremony thread begins: it steps back behind the threads that serve before it loads its program, which costs more than most ceremonies. */
import { setPriority } from 'node:os'

const NICENESS = 10

// On Linux this is of the calling thread alone; elsewhere it would be of the whole process.
if (process.platform === 'linux') {
  try {
    setPriority(0, NICENESS)
  } catch {
    // Not allowed: the work is done all the same.
  }
}
await import('./ceremony-program.ts')
