/*
 * A lineage database of a large mesh, to ask the questions of the bench: RUNS runs that were served READS files, folded, in all.
 *
 *     lineage_big DB [RUNS [READS [FILES [VERSIONS]]]]
 *
 * Versions have the addresses bench/p<i>/1.0.0, half of them were published by a run; one version in a hundred is read by every tenth run; every
 * hundredth run was refused a file; every tenth one belongs to another run, or made an output.  Rows are made by SQL in the order in which a mount would have written
 * them; then all runs are sealed as ever.
 */
#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lineage *l;

static void must(int r, const char *what, const struct err *e)
{
	if (!r)
		return;
	fprintf(stderr, "lineage_big: %s: %s\n", what, e->text);
	exit(1);
}

static void fill(const char *what, const char *sql)
{
	struct err e = ERR_INIT;
	int64_t start = clock_mono_ns();
	must(lineage_begin(l, &e), what, &e);
	must(db_exec(lineage_db(l), sql, &e), what, &e);
	must(lineage_commit(l, &e), what, &e);
	fprintf(stderr, "%-12s %6.1f s\n", what, (double)(clock_mono_ns() - start) / 1e9);
}

/* Numbers from 0 on, as many as `count`, in the table n. */
#define NUMBERS "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %lld) "
#define UUID "printf('01900000-0000-7000-8000-%%012x', %s)"
#define START "1760000000000000000"

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	if (argc < 2) {
		fprintf(stderr, "usage: lineage_big DB [RUNS [READS [FILES [VERSIONS]]]]\n");
		return 2;
	}
	long long runs = argc > 2 ? atoll(argv[2]) : 100000, reads = argc > 3 ? atoll(argv[3]) : 10000000;
	long long files = argc > 4 ? atoll(argv[4]) : reads / 10, versions = argc > 5 ? atoll(argv[5]) : 1000;
	if (runs < 100 || reads < runs || files < versions || versions < 100)
		return 2;
	long long each = reads / runs, per = files / versions;
	struct buf b = BUF_INIT;
	must(lineage_open(argv[1], &l, &e), "open", &e);

	buf_addf(&b, NUMBERS "INSERT INTO versions(id, address, product, version) SELECT i + 1, printf('bench/p%%05d/1.0.0', i), printf('bench/p%%05d', i), '1.0.0'"
			     " FROM n;", versions);
	buf_addf(&b, NUMBERS "INSERT INTO files(id, version, path) SELECT i + 1, i / %lld + 1, printf('train/class-%%03d/image-%%08d.jpeg', i / 1000 %% 1000, i) FROM n;",
		 per * versions, per);
	buf_adds(&b, "INSERT INTO decisions(id, outcome, view, policy, rules) VALUES(1, 1, '', 'p', ''), (2, 1, 'v', 'p', 'mesh/mask'), (-1, 2, '', 'p', 'mesh/deny');");
	buf_addf(&b, NUMBERS "INSERT INTO publications(version, run, published_ns, manifest, publisher)"
			     " SELECT i + 1, iif(i %% 2, " UUID ", NULL), " START ", printf('%%064x', i), 'bench' FROM n;", versions, "i");
	fill("versions", buf_text(&b));

	buf_clear(&b);
	buf_addf(&b, NUMBERS "INSERT INTO runs(id, uuid, name, user, uid, purpose, command, parent, params, host, started_ns, ended_ns, exit_status)"
			     " SELECT i + 1, " UUID ", printf('train-%%d', i / 4), printf('user%%d', i %% 50), 1000 + i %% 50, 'training', 'python train.py --seed ' || i,"
			     " iif(i %% 10 = 3, " UUID ", NULL), '{\"seed\":\"1\"}', 'host', " START " + i * 1000000000, " START " + (i + 600) * 1000000000, 0 FROM n;",
		 runs, "i", "i - 3");
	buf_addf(&b, NUMBERS "INSERT INTO processes(id, run, pid, started_ns, exe, command) SELECT i + 1, i + 1, 1000 + i %% 30000, " START " + i * 1000000000,"
			     " '/usr/bin/python3.11', 'python train.py --seed ' || i FROM n;", runs);
	buf_addf(&b, NUMBERS "INSERT INTO artifacts(run, path, sha256, size, recorded_ns) SELECT " UUID ", '/models/' || i || '.pt', printf('%%064x', i), 1000, " START
			     " FROM n WHERE i %% 10 = 7;", runs, "i");
	fill("runs", buf_text(&b));

	/* A run reads neighbouring files from a place of its own on; every tenth run, files of a version that many runs read. */
	buf_clear(&b);
	buf_addf(&b, NUMBERS "INSERT OR IGNORE INTO reads(run, part, file, decision, process, opens, bytes, first_ns, last_ns)"
			     " SELECT i / %lld + 1, 0, iif(i / %lld %% 10, i / %lld * 7919 * %lld %% %lld, i / %lld %% 100 / 10 * 100 * %lld) + i %% %lld + 1, iif(i / %lld %% 3, 1, 2), i / %lld + 1,"
			     " 1 + i %% 100, i %% 7 * 8192, " START " + i / %lld * 1000000000 + i * 1000, " START " + (i / %lld + 500) * 1000000000 + i * 1000 FROM n;",
		 reads, each, each, each, each, per * versions - each, each, per, each, each, each, each, each);
	buf_addf(&b, "INSERT OR IGNORE INTO reads SELECT id, 0, (id * 104729) %% %lld + 1, -1, id, 3, 0, started_ns, ended_ns FROM runs WHERE id %% 100 = 0;", per * versions);
	fill("reads", buf_text(&b));
	fill("inputs", "INSERT INTO inputs(run, version, decision, late, files, opens, bytes, first_ns, last_ns) SELECT x.run, f.version, x.decision, 0, count(*), sum(x.opens),"
		       " sum(x.bytes), min(x.first_ns), max(x.last_ns) FROM reads x CROSS JOIN files f ON f.id = x.file GROUP BY x.run, f.version, x.decision");

	int64_t start = clock_mono_ns();
	must(lineage_begin(l, &e), "seals", &e);
	must(lineage_seal_due(l, clock_now_ns(), &e), "seals", &e);
	must(lineage_commit(l, &e), "seals", &e);
	fprintf(stderr, "%-12s %6.1f s\n", "seals", (double)(clock_mono_ns() - start) / 1e9);
	lineage_close(l);
	buf_free(&b);
	return 0;
}
