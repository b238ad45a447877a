/**
 * Node's HTTP. An `import` of it reads every name that it exports, and with that loads the engine's own client for browsers' interfaces
 * (`fetch`, `WebSocket`), which nobody here uses: 14 MB of resident memory on an edge. Asking for the module does not.
 */
export const nodeHttp: typeof import('node:http') = process.getBuiltinModule('node:http')
