import { INSIDE_LITERALS, insideAddress } from '../addresses/detect.ts'
import { COMMAND_INJECTION_LITERALS, shellCommand } from '../commands/detect.ts'
import { costlyQuery, GRAPHQL_LITERALS } from '../graphql/detect.ts'
import { DETECTOR_CHARS_MAX, DETECTOR_OVERLAP_CHARS, DETECTOR_WORK_FACTOR } from '../limits.ts'
import { PATH_LITERALS, strayPath } from '../paths/detect.ts'
import { SQL_INJECTION_LITERALS, sqlInjectionShape } from '../sqli/detect.ts'
import { SCRIPT_INJECTION_LITERALS, scriptInjection } from '../xss/detect.ts'
import type { OperatorFactory } from './operator.ts'

/** `@detectSQLi`: the value would change the meaning of a SQL statement it is pasted into. TX.0 names the shape. */
export const detectSqli: OperatorFactory = () => detector(sqlInjectionShape, SQL_INJECTION_LITERALS)

/** `@detectXSS`: the value would run a script in an HTML page it is pasted into. TX.0 says by what. */
export const detectXss: OperatorFactory = () => detector(scriptInjection, SCRIPT_INJECTION_LITERALS)

/** @param charsMax Longer values are seen through windows; infinity where it matters what stands before, and time is linear. */
function detector(
  find: (text: string) => string | undefined,
  literals: readonly string[],
  charsMax = DETECTOR_CHARS_MAX,
): ReturnType<OperatorFactory> {
  return {
    literals,
    matches(text, context) {
      for (let from = 0; from < text.length; from += charsMax - DETECTOR_OVERLAP_CHARS) {
        const window = text.length <= charsMax ? text : text.slice(from, from + charsMax)
        context.work += window.length * DETECTOR_WORK_FACTOR
        const found = find(window)
        if (found !== undefined) {
          if (context.capturing) context.capture(0, found)
          return true
        }
        if (window === text) break
      }
      return false
    },
  }
}

/** `@detectCommand`: a shell would run a command that the value brings along. TX.0 names the command. */
export const detectCommand: OperatorFactory = () => detector(shellCommand, COMMAND_INJECTION_LITERALS, Number.POSITIVE_INFINITY)

/** `@detectPath`: the value is a path to something that was not offered. TX.0 says why. */
export const detectPath: OperatorFactory = () => detector(strayPath, PATH_LITERALS, Number.POSITIVE_INFINITY)

/** `@detectInsideAddress`: the value is a URL of the inside of a network. TX.0 names the kind of address. */
export const detectInsideAddress: OperatorFactory = () => detector(insideAddress, INSIDE_LITERALS, Number.POSITIVE_INFINITY)

/** `@detectGraphqlCost`: the value is a GraphQL document that multiplies work. TX.0 says by what. */
export const detectGraphqlCost: OperatorFactory = () => detector(costlyQuery, GRAPHQL_LITERALS, Number.POSITIVE_INFINITY)
