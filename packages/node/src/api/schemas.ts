/** The shapes of the admin API as JSON Schema (draft 2020-12), by name: components of the OpenAPI document. A file for each family of operations. */

import { denialsSchemas } from './schemas-denials.ts'
import { incidentsSchemas } from './schemas-incidents.ts'
import { keysSchemas } from './schemas-keys.ts'
import { ledgerSchemas } from './schemas-ledger.ts'
import { nodesSchemas } from './schemas-nodes.ts'
import { policySchemas } from './schemas-policy.ts'
import { requestsSchemas } from './schemas-requests.ts'
import { vaultSchemas } from './schemas-vault.ts'
import { anything, described, list, object, type Schema, text, whole } from './shapes.ts'

const families: Readonly<Record<string, Schema>> = {
  Problem: object('Why a call was refused (RFC 9457).', {
    type: text,
    title: text,
    status: whole,
    detail: described('One sentence: what, and what to do.', text),
    code: described('Stable; switch on it.', text),
    'problems?': list(anything),
  }),
  ...nodesSchemas,
  ...policySchemas,
  ...keysSchemas,
  ...vaultSchemas,
  ...denialsSchemas,
  ...incidentsSchemas,
  ...requestsSchemas,
  ...ledgerSchemas,
}

/** In the order of their names, so that the document does not depend on which file a shape is in. */
export const schemas: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(families).sort(([a], [b]) => (a < b ? -1 : 1)),
)
