/* What names and describes a run.  Pure but for the clock and random bytes; any thread. */
#ifndef MESHFS_FS_RUN_FACTS_H
#define MESHFS_FS_RUN_FACTS_H

#include "catalog/base/buf.h"
#include "fs/recorder.h"

#define RUN_NAME_MAX 128

#define RUN_WORD_MAX 255
/* A name or purpose that somebody gives (NULL: none): one line of text.  `command` and `option` are named in the error, which is of usage. */
int run_word_check(const char *command, const char *option, const char *word, struct err *e);

void run_id_new(char ret[RUN_ID_SIZE]);
/* A name for a mount that has none: mount-ana-20261122-1f3a. */
void run_name_make(const struct run_facts *facts, const char *id, char ret[RUN_NAME_MAX]);
/* {"lr":"0.1", …}: the last of equal keys counts. */
void run_params_json(const struct run_facts *facts, struct buf *ret);
/* ["staff", …] */
void run_groups_json(const struct run_facts *facts, struct buf *ret);

#endif
