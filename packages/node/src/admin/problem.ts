/** Problem details (RFC 9457): how the admin API says no. */

export interface Problem {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly code: string
  readonly problems?: readonly unknown[]
}

/** Thrown by handlers; becomes the response. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly problem: Problem
  constructor(status: number, code: string, detail: string, problems?: readonly unknown[]) {
    super(detail)
    this.problem = { status, title: TITLES[status] ?? 'Error', detail, code, ...(problems === undefined ? {} : { problems }) }
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Refused',
  429: 'Too many',
  500: 'Internal error',
  503: 'Not available',
}
