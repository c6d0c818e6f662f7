/*
 * The tree of member names that a view of JSON lines walks by: what becomes of a value at each dotted path.
 *
 * Thread rules: immutable once it is built; any thread then.
 */
#ifndef MESHFS_POLICY_JSON_TREE_H
#define MESHFS_POLICY_JSON_TREE_H

#include "policy/mask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One step of a dotted path. */
struct json_node {
	char *name;
	size_t len;
	uint32_t hash;
	struct mask_run mask; /* MASK_KEEP: none */
	size_t value;         /* 1 + the filter's column, or 0 */
	bool read;            /* the filter reads here or below */
	bool guarded;         /* something below is masked, dropped, or unknown */
	bool closed;          /* one value by the contract: members of an object in its place have no name in it */
	struct json_node **children;
	size_t child_count;
	uint32_t *table;      /* open addressing: 1 + index of the child */
	size_t table_size;    /* a power of two */
	size_t id;            /* of the tree's nodes; the root's is 0 */
};

/* Starts zeroed, with MASK_KEEP at the root. */
struct json_tree {
	struct json_node root;
	size_t count; /* of the nodes besides the root */
};

void json_tree_fini(struct json_tree *t);
/* The node at a dotted path, made with those above it; NULL when there is no memory, or there are too many. */
struct json_node *json_tree_add(struct json_tree *t, const char *path);
/* Once all masks and values are set, `unnamed`: members that have no node are changed too. */
void json_tree_guard(struct json_tree *t, bool unnamed);

/* NULL: the node has no child of this name. */
struct json_node *json_node_child(const struct json_node *n, const char *name, size_t len);

#endif
