/** Files of a data folder that whole parts of a node write into it, sealed where the disk is: a disk that is sealed anew takes them along, a wipe erases them. */
export const SEALED_FILES: readonly string[] = [
  'logins.bin',
  'incidents.findings',
  'incidents.closings',
  'incidents.assignments',
  'insiders.bin',
  'anomalies.bin',
  'usual.bin',
  'signal-streams',
]
