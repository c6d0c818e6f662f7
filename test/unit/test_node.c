#include "fs/node.h"

#include "fs/state.h"
#include "test/unit/check.h"

#include <errno.h>

static unsigned freed_slots, closed_backing;
static uint32_t last_closed;

static void free_slot(struct slot *s)
{
	freed_slots++;
	pthread_mutex_destroy(&s->lock);
	free(s->address);
	free(s);
}

static void close_backing(void *arg, uint32_t backing_id)
{
	(void)arg;
	closed_backing++;
	last_closed = backing_id;
}

static char sales_name[] = "sales";
static const struct mesh_domain domain_config = { .name = sales_name };
static struct domain_host host = { .config = &domain_config };

static struct nodes *fresh(void)
{
	freed_slots = closed_backing = 0;
	return nodes_new(free_slot, close_backing, NULL);
}

static struct slot *slot_of(struct nodes *n, const char *version, unsigned char manifest)
{
	struct version_info info = { 0 };
	struct slot *s = NULL;
	snprintf(info.version, sizeof info.version, "%s", version);
	info.manifest.bytes[0] = manifest;
	return nodes_slot(n, &host, "orders", &info, &s) ? NULL : s;
}

TEST(ids_are_computed_and_split)
{
	const struct node_parts cases[] = {
		{ 1, 0, 1, false },
		{ NODE_SLOT_MAX, NODE_VIEW_MAX, NODE_ROW_MAX, true },
		{ 7, 3, 123456789, false },
		{ 7, 3, 123456789, true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct node_parts back;
		node_split(node_id(&cases[i]), &back);
		CHECK_INT(back.slot, cases[i].slot);
		CHECK_INT(back.view, cases[i].view);
		CHECK_INT(back.row, cases[i].row);
		CHECK_INT(back.promoted, cases[i].promoted);
	}
}

TEST(inode_numbers_do_not_depend_on_view_or_promotion)
{
	const struct node_parts plain = { 3, 0, 17, false }, other = { 3, 9, 17, true }, next = { 3, 0, 18, false };
	CHECK_INT(node_ino(node_id(&plain)), node_ino(node_id(&other)));
	CHECK(node_ino(node_id(&plain)) != node_ino(node_id(&next)));
	CHECK_INT(node_ino(NODE_ROOT), NODE_ROOT);
	CHECK_INT(node_ino(42), 42);
}

TEST(an_address_has_one_slot_until_its_manifest_differs)
{
	struct nodes *n = fresh();
	struct slot *a = slot_of(n, "1.0.0", 1), *b = slot_of(n, "1.0.0", 1), *c = slot_of(n, "1.1.0", 1);
	CHECK(a && a == b && c && c != a);
	CHECK_STR(a->address, "sales/orders/1.0.0");
	struct slot *d = slot_of(n, "1.0.0", 2);
	CHECK(d && d != a && d->number != a->number);
	nodes_slot_unref(n, a, 2);
	CHECK_INT(freed_slots, 1); /* nobody needs the old one */
	CHECK(nodes_slot_find(n, 1) == NULL);
	nodes_slot_unref(n, c, 1);
	nodes_slot_unref(n, d, 1);
	CHECK_INT(freed_slots, 1); /* current ones stay */
	nodes_free(n);
	CHECK_INT(freed_slots, 3);
}

TEST(the_kernel_keeps_an_old_slot_until_it_forgets)
{
	struct nodes *n = fresh();
	struct slot *a = slot_of(n, "1.0.0", 1);
	const struct node_parts file = { a->number, 0, 5, false };
	CHECK_INT(nodes_looked_up(n, node_id(&file)), 0);
	CHECK_INT(nodes_looked_up(n, node_id(&file)), 0);
	struct slot *b = slot_of(n, "1.0.0", 2);
	nodes_slot_unref(n, a, 1);
	nodes_slot_unref(n, b, 1);
	CHECK_INT(freed_slots, 0);
	nodes_forget(n, node_id(&file), 1);
	CHECK_INT(freed_slots, 0);
	nodes_forget(n, node_id(&file), 1);
	CHECK_INT(freed_slots, 1);
	nodes_forget(n, node_id(&file), 1); /* of a slot that is gone: ignored */
	nodes_free(n);
}

static uint32_t give_id(void *arg)
{
	++*(int *)arg;
	return 77;
}

static uint32_t give_none(void *arg)
{
	++*(int *)arg;
	return 0;
}

TEST(the_first_open_of_a_promoted_node_decides_and_forget_closes)
{
	struct nodes *n = fresh();
	struct slot *a = slot_of(n, "1.0.0", 1);
	const struct node_parts one = { a->number, 0, 5, true }, two = { a->number, 0, 6, true };
	uint32_t id = 0;
	int asked = 0;
	CHECK_INT(nodes_backing(n, node_id(&one), give_id, &asked, &id), -ESTALE); /* never looked up */
	CHECK_INT(nodes_looked_up(n, node_id(&one)), 0);
	CHECK_INT(nodes_looked_up(n, node_id(&one)), 0);
	CHECK_INT(nodes_looked_up(n, node_id(&two)), 0);
	CHECK_INT(nodes_backing(n, node_id(&one), give_id, &asked, &id), 0);
	CHECK_INT(id, 77);
	CHECK_INT(nodes_backing(n, node_id(&one), give_none, &asked, &id), 0);
	CHECK_INT(id, 77);
	CHECK_INT(nodes_backing(n, node_id(&two), give_none, &asked, &id), 0);
	CHECK_INT(id, 0);
	CHECK_INT(nodes_backing(n, node_id(&two), give_id, &asked, &id), 0);
	CHECK_INT(id, 0); /* once cached, always cached */
	CHECK_INT(asked, 2);
	nodes_forget(n, node_id(&one), 1);
	CHECK_INT(closed_backing, 0);
	nodes_forget(n, node_id(&one), 1);
	CHECK_INT(closed_backing, 1);
	CHECK_INT(last_closed, 77);
	nodes_slot_unref(n, a, 1);
	nodes_free(n);
}

TEST(vnodes_live_while_looked_up_or_used)
{
	struct nodes *n = fresh();
	char target[] = "1.0.0";
	struct vnode like = { .kind = KIND_LINK, .text = target }, *v = NULL, *again = NULL;
	CHECK_INT(nodes_vnode(n, "sales/orders/latest", &like, &v), 0);
	uint64_t id = v->id;
	CHECK(id > NODE_ROOT && v->text != target);
	CHECK_INT(nodes_vnode_id(n, "sales/orders/latest"), 0); /* the kernel was not told */
	CHECK_INT(nodes_looked_up(n, id), 0);
	CHECK_INT(nodes_vnode_id(n, "sales/orders/latest"), id);
	nodes_vnode_put(n, v);
	CHECK_INT(nodes_vnode(n, "sales/orders/latest", &like, &again), 0);
	CHECK(again == v);
	nodes_forget(n, id, 1);
	CHECK(nodes_vnode_find(n, id) == v); /* still used */
	nodes_vnode_put(n, v);
	nodes_vnode_put(n, again);
	CHECK(nodes_vnode_find(n, id) == NULL);
	CHECK_INT(nodes_vnode(n, "sales/orders/latest", &like, &v), 0);
	CHECK(v->id != id); /* numbers are not used twice */
	nodes_vnode_put(n, v);
	nodes_free(n);
}

TEST(a_sweep_frees_what_the_kernel_never_forgot)
{
	struct nodes *n = fresh();
	struct slot *a = slot_of(n, "1.0.0", 1);
	struct vnode like = { .kind = KIND_VERSION_META, .slot = a }, *v = NULL;
	const struct node_parts file = { a->number, 0, 5, true };
	uint32_t id;
	int asked = 0;
	CHECK_INT(nodes_vnode(n, "x/.mesh", &like, &v), 0);
	CHECK_INT(nodes_looked_up(n, v->id), 0);
	nodes_vnode_put(n, v);
	CHECK_INT(nodes_looked_up(n, node_id(&file)), 0);
	CHECK_INT(nodes_backing(n, node_id(&file), give_id, &asked, &id), 0);
	nodes_slot_unref(n, a, 1);
	nodes_free(n);
	CHECK_INT(freed_slots, 1);
	CHECK_INT(closed_backing, 1);
}

CHECK_MAIN()
