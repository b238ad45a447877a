/*
 * Microseconds of CPU that libmodsecurity spends on one request, without a proxy around it; what bench:waf compares with.
 * cc -O2 -o modsecurity modsecurity.c -lmodsecurity; ./modsecurity RULES COUNT < REQUEST
 * REQUEST: method, target and each header (name TAB value) on a line of its own, an empty line, the body.
 */
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static double cpu_microseconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

int main(int argc, char **argv) {
  static char input[1 << 20];
  char *lines[256];
  int count = 0;
  const char *error = NULL;
  if (argc != 3) return 2;
  size_t length = fread(input, 1, sizeof input - 1, stdin);
  char *at = input;
  while (count < 256) {
    char *end = strchr(at, '\n');
    if (end == NULL) return 2;
    *end = 0;
    if (*at == 0) {
      at = end + 1;
      break;
    }
    lines[count++] = at;
    at = end + 1;
  }
  size_t body = length - (size_t)(at - input);
  ModSecurity *engine = msc_init();
  RulesSet *rules = msc_create_rules_set();
  if (msc_rules_add_file(rules, argv[1], &error) < 0) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  int rounds = atoi(argv[2]);
  int refused = 0;
  double began = 0;
  for (int i = -rounds / 4; i < rounds; i++) {
    if (i == 0) began = cpu_microseconds();
    ModSecurityIntervention intervention = {200, 0, NULL, NULL, 0};
    Transaction *transaction = msc_new_transaction(engine, rules, NULL);
    msc_process_connection(transaction, "192.0.2.1", 40000, "192.0.2.2", 80);
    msc_process_uri(transaction, lines[1], lines[0], "1.1");
    for (int h = 2; h < count; h++) {
      char *tab = strchr(lines[h], '\t');
      msc_add_n_request_header(transaction, (unsigned char *)lines[h], (size_t)(tab - lines[h]), (unsigned char *)tab + 1, strlen(tab + 1));
    }
    msc_process_request_headers(transaction);
    if (body > 0) msc_append_request_body(transaction, (unsigned char *)at, body);
    msc_process_request_body(transaction);
    if (msc_intervention(transaction, &intervention)) refused = 1;
    msc_process_logging(transaction);
    msc_transaction_cleanup(transaction);
  }
  printf("%.1f %d\n", (cpu_microseconds() - began) / rounds, refused);
  return 0;
}
