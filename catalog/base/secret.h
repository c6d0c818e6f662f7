/*
 * Secrets in command lines: a record that outlives the process must not keep the password it was started with.
 *
 * Found by how they are named (--password X, API_KEY=X, "Authorization: Bearer X", the signature of a signed URL) and in the user part of a URL; what has another name
 * cannot be known.  A hyperparameter that is called a token (--max-tokens, --pad-token) is none.  Pure; any thread.
 */
#ifndef MESHFS_CATALOG_BASE_SECRET_H
#define MESHFS_CATALOG_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Is what goes by this name kept secret?  Case, '-' and '_' do not matter. */
bool secret_name(const char *name, size_t len);

#define SECRET_HIDDEN "***"

/* Of an argument, behind `before` (NULL: none): how much of it is no secret, all of it for most.  Only here a secret may hold spaces. */
size_t secret_kept(const char *before, const char *argument);

/* Puts SECRET_HIDDEN in the place of each secret.  The text never becomes longer. */
void secrets_hide(char *text);

#endif
