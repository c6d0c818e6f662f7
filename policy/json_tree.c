#include "policy/json_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 65536

static uint32_t hash_name(const char *name, size_t len)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return h;
}

struct json_node *json_node_child(const struct json_node *n, const char *name, size_t len)
{
	if (!n->child_count)
		return NULL;
	uint32_t hash = hash_name(name, len);
	for (size_t i = hash;; i++) {
		uint32_t index = n->table[i & (n->table_size - 1)];
		if (!index)
			return NULL;
		struct json_node *c = n->children[index - 1];
		if (c->hash == hash && c->len == len && memcmp(c->name, name, len) == 0)
			return c;
	}
}

static int grow_table(struct json_node *n)
{
	size_t size = n->table_size ? n->table_size * 2 : 8;
	uint32_t *table = calloc(size, sizeof *table);
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < n->child_count; i++) {
		size_t at = n->children[i]->hash;
		while (table[at & (size - 1)])
			at++;
		table[at & (size - 1)] = (uint32_t)i + 1;
	}
	free(n->table);
	n->table = table;
	n->table_size = size;
	return 0;
}

static struct json_node *add_child(struct json_tree *t, struct json_node *n, const char *name, size_t len)
{
	struct json_node *c = json_node_child(n, name, len);
	if (c)
		return c;
	struct json_node **children = realloc(n->children, (n->child_count + 1) * sizeof *children);
	if (!children || t->count >= NODES_MAX)
		return NULL;
	n->children = children;
	c = calloc(1, sizeof *c);
	if (!c || !(c->name = malloc(len + 1))) {
		free(c);
		return NULL;
	}
	memcpy(c->name, name, len);
	c->name[len] = 0;
	c->len = len;
	c->hash = hash_name(name, len);
	c->mask.mask.kind = MASK_KEEP;
	c->id = ++t->count;
	n->children[n->child_count++] = c;
	if (n->child_count * 2 > n->table_size) {
		if (grow_table(n) != 0)
			return NULL;
		return c;
	}
	size_t at = c->hash;
	while (n->table[at & (n->table_size - 1)])
		at++;
	n->table[at & (n->table_size - 1)] = (uint32_t)n->child_count;
	return c;
}

struct json_node *json_tree_add(struct json_tree *t, const char *path)
{
	struct json_node *n = &t->root;
	while (n) {
		const char *dot = strchr(path, '.');
		n = add_child(t, n, path, dot ? (size_t)(dot - path) : strlen(path));
		if (!dot)
			return n;
		path = dot + 1;
	}
	return NULL;
}

static void node_fini(struct json_node *n)
{
	for (size_t i = 0; i < n->child_count; i++) {
		node_fini(n->children[i]);
		free(n->children[i]);
	}
	mask_fini(&n->mask);
	free(n->children);
	free(n->table);
	free(n->name);
}

void json_tree_fini(struct json_tree *t)
{
	node_fini(&t->root);
}

static bool mark_guarded(struct json_node *n, bool unnamed)
{
	n->guarded = n->child_count && unnamed;
	for (size_t i = 0; i < n->child_count; i++)
		n->guarded |= mark_guarded(n->children[i], unnamed) || n->children[i]->mask.mask.kind != MASK_KEEP;
	return n->guarded;
}

static bool mark_read(struct json_node *n)
{
	n->read = n->value;
	for (size_t i = 0; i < n->child_count; i++)
		n->read |= mark_read(n->children[i]);
	return n->read;
}

void json_tree_guard(struct json_tree *t, bool unnamed)
{
	mark_guarded(&t->root, unnamed);
	mark_read(&t->root);
}
