#include "fs/handle.h"

#include "fs/content.h"
#include "fs/state.h"

#include <stdlib.h>

struct handle *handle_new(struct session *s, enum handle_kind kind)
{
	struct handle *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->kind = kind;
	h->session = s;
	return h;
}

void folder_clear(struct handle *h)
{
	for (size_t i = 0; i < h->item_count; i++)
		free(h->items[i].name);
	free(h->items);
	h->items = NULL;
	h->item_count = 0;
}

void handle_free(struct handle *h)
{
	if (!h)
		return;
	buf_free(&h->text);
	if (h->content)
		content_unref(h->content);
	nodes_slot_unref(h->session->nodes, h->slot, 1);
	free(h->path);
	folder_clear(h);
	place_fini(h->session, &h->place);
	free(h);
}

const struct stat *handle_stat(uint64_t number)
{
	struct handle *h = handle_of(number);
	return h && h->kind == HANDLE_FILE ? &h->st : NULL;
}
