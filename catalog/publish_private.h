/* A publication's insides, shared by publish*.c. */
#ifndef MESHFS_CATALOG_PUBLISH_PRIVATE_H
#define MESHFS_CATALOG_PUBLISH_PRIVATE_H

#include "catalog/base/buf.h"
#include "catalog/chunk_index.h"
#include "catalog/ingest.h"
#include "catalog/manifest_schema.h"
#include "catalog/manifest_write.h"
#include "catalog/publish.h"

#define PUBLISH_KNOWN_MAX 4          /* versions whose chunks are found again */
#define PUBLISH_PACKS_MAX (1u << 24) /* of one version */
#define READAHEAD_MIN (1u << 20)

struct publication {
	struct domain *domain;
	char product[NAME_SIZE];
	char version[VERSION_SIZE];
	struct semver number;
	enum version_bump bump;
	bool dry_run, fresh, replace;
	char *publisher, *run, *failures_reason, *quality; /* owned, or NULL */
	char *scratch;                                     /* folder for scratch files */
	char *rows;                                        /* a file: publish_set_rows, or NULL */

	bool contract_given;
	struct buf contract_text; /* empty: none */
	struct contract *contract;

	struct manifest *same; /* the version that stands under the address already, or NULL */
	struct digest same_contract;
	bool has_onto;
	struct semver onto;

	struct manifest *known[PUBLISH_KNOWN_MAX];
	size_t known_count;
	bool *excluded; /* packs of the manifest being read, by number */
	size_t excluded_count;

	struct stage *stage;
	struct chunk_index *index;
	struct ingest *ingest;
	bool keep; /* what was put may be referred to: never undo it */
};

/* Sets number and version (for a bump: the next one in `s`). */
int publish_choose_version(struct publication *p, struct snapshot *s, struct err *e);
/* Puts all of an earlier version into the stage. */
int publish_stage_version(struct publication *p, struct manifest *m, struct err *e);
bool publish_is_parquet(const char *path);

#endif
