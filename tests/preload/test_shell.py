"""bash pipelines under the preload: sort, awk, sed, xargs, find, grep, join and what bash does itself."""

import preload

PIPELINES = {
    'text': r'''
        seq 1 200000 | awk '{ printf "%d %x line%s\n", $1, ($1 * 7919) % 1000003, $1 % 97 }' > lines
        sort -k2,2 -k1,1n --parallel=2 -S 1M lines | md5sum
        sort -rn -u -k2,2 lines | head -n 1000 | sha256sum
        awk '{ count[$3]++; sum[$3] += $1 } END { for (k in count) print k, count[k], sum[k] }' lines | sort
        sed -E 's/([0-9]+) ([0-9a-f]+)/\2-\1/; /7$/d' lines | grep -c -E '^[a-f]+[0-9]'
        cut -d' ' -f3 lines | sort | uniq -c | sort -rn | head -n 20
        join <(sort -k1,1 lines | head -n 5000) <(sort -k1,1 lines | tail -n +2500 | head -n 5000) | wc
        tr a-z A-Z < lines | rev | tac | fold -w 37 | paste - - - | cksum
        comm -12 <(cut -c1-4 lines | sort -u) <(cut -c2-5 lines | sort -u) | wc -l
        diff <(head -n 5000 lines) <(head -n 5100 lines | tail -n 5000 | sed 's/9/nine/') | wc -l
        split -l 20000 lines part. && cat part.* | cmp - lines && echo same
    ''',
    'files': r'''
        mkdir -p tree/{a..e}/{1..8}
        for folder in tree/*/*; do for n in {1..6}; do printf '%s %d\n' "$folder" "$n" > "$folder/$n.txt"; done; done
        find tree -type f -name '*.txt' -print0 | sort -z | xargs -0 -n 20 -P 2 cat | sort | md5sum
        find tree -type f -path '*b/[2-4]*' -exec md5sum {} + | sort
        find tree -type f | sort | xargs -I{} sh -c 'basename "$1" .txt' _ {} | sort | uniq -c
        ls -lR --time-style=+ tree | awk '{ print $1, $5, $NF }' | md5sum
        du -a --apparent-size tree/a | sort -k2 | tail -n 3 | cut -f2
        gzip -9 -c tree/*/*/*.txt | gunzip | sort -R --random-source=<(yes) | sort | md5sum
    ''',
    'bash': r'''
        declare -A table
        list=()
        for ((i = 0; i < 15000; i++)); do
            key="key $((i * 7919 % 1009))"
            table[$key]+="${i:0:2},"
            list+=("$key/$i")
            (( i % 1000 )) || list=("${list[@]:100}")
        done
        echo "${#table[@]} ${#list[@]} ${table[key 17]}"
        printf '%s\n' "${list[@]//key/KEY}" | md5sum
        long=$(printf 'word%d ' {1..20000}); echo "${#long}"; long=${long//word1/X}; echo "${#long}"
        fibonacci() { if (( $1 < 2 )); then echo "$1"; else echo $(( $(fibonacci $(($1 - 1))) + $(fibonacci $(($1 - 2))) )); fi; }
        fibonacci 9
        while read -r first rest; do set -- $rest; echo "$first:$#"; done < <(for n in {1..500}; do echo $n $(seq $((n % 40))); done) | md5sum
        { sleep 0 & wait $!; (exit 3); echo $?; trap 'echo ended' EXIT; } 2>&1
        [[ "$long" =~ (word2[0-9]+)\ (word2[0-9]+) ]] && echo "${BASH_REMATCH[2]}"
        echo to stderr >&2; missing_command_here; exit 5
    ''',
}


class Shell(preload.PreloadTest):
    needs = ('bash', 'awk', 'xargs', 'find', 'gzip', 'diff')

    def pipeline(self, name, status=0):
        def scenario(session):
            session.run('bash', '-c', 'set -o pipefail\n' + PIPELINES[name], status=status)
        return scenario

    def test_is_loaded(self):
        def scenario(session):
            session.run('bash', '-c', 'seq 3 | sort -r | xargs -n 1 echo | gzip | gunzip | sed s/1/2/; find . -maxdepth 0')
        self.prove(scenario, 'bash', 'seq', 'sort', 'xargs', 'gzip', 'sed', 'find')

    def test_text(self):
        self.compare(self.pipeline('text'))

    def test_files(self):
        self.compare(self.pipeline('files'))

    def test_bash_itself(self):
        self.compare(self.pipeline('bash', status=5))


if __name__ == '__main__':
    preload.main()
