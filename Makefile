# Names people's fingers know; ./run does the work.
.PHONY: run test check
run:
	@./run
test:
	@./run test
check:
	@./run check
