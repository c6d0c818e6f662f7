/*
 * The views of what a mount published, computed after its rename was answered: for the subjects that `views:` in mesh.yaml names, and for those
 * who used the version before, as `publish` does it.
 *
 * One thread, started at the first publication, works through them one by one with the mesh's own read path, where readers go first.  What is not done
 * when the mesh stops is computed when it is needed.
 *
 * Thread rules: views_ahead_add from any thread, holding no lock that ranks below "queue"; stop and free from the one that stops the mesh.
 */
#ifndef MESHFS_FS_VIEWS_AHEAD_H
#define MESHFS_FS_VIEWS_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

struct domain_host;
struct mesh;
struct views_ahead;

struct views_ahead *views_ahead_new(struct mesh *m); /* NULL without memory */
/* Without memory, or with too many in the queue already, nothing is computed ahead. */
void views_ahead_add(struct views_ahead *v, struct domain_host *h, const char *product, const char *version);
/* Gives what is under way `grace_ms` to be done, then ends it.  False: it still waits for a store, and nothing may be freed. */
bool views_ahead_stop(struct views_ahead *v, int64_t grace_ms);
void views_ahead_free(struct views_ahead *v); /* after views_ahead_stop said true; NULL is legal */

#endif
