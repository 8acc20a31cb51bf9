"""Processes that are really killed, disks that are really full, and what users and their jobs notice of it.

Fault                                       Test
------------------------------------------  --------------------------------------------------------------------------------
worker killed: dataset                      test_a_dataset_whose_worker_is_killed_is_begun_anew_and_whole
worker killed: training                     test_killed_at_random_points_a_training_ends_bit_for_bit_as_without
worker killed each time                     test_a_dataset_whose_worker_is_killed_each_time_is_an_error_with_its_cause_in_words,
                                            test_a_training_that_kills_its_worker_at_the_same_place_ends_with_the_reason
a process of a dataset's worker killed      test_a_dataset_one_of_whose_processes_is_killed_is_begun_anew
no process can be started                   test_jobs_whose_workers_cannot_be_started_just_now_wait_and_are_done
no file can be opened for a moment          test_who_cannot_be_looked_at_just_now_is_not_taken_for_gone
server killed: pictures sent to it          test_nothing_is_lost_when_everything_is_killed_at_once
machine off for hours                       test_time_in_which_the_machine_was_off_does_not_count_towards_the_limit
long past of a training taken up again      test_a_training_with_a_long_past_that_is_taken_up_again_keeps_nobody_waiting
worker killed: snapshot of a pause          test_whenever_a_worker_dies_while_it_replaces_a_snapshot_there_is_a_good_one,
                                            test_who_dies_while_it_replaces_the_only_snapshot_goes_on_from_that
predictor killed                            test_a_predictor_killed_between_two_tests_is_started_again
spare process killed                        test_a_spare_that_was_killed_is_not_missed
server killed, its worker not               test_a_restarted_server_takes_up_a_worker_that_it_did_not_start
server killed, pages open                   test_a_server_that_was_killed_is_followed_by_one_that_goes_on
all killed                                  test_nothing_is_lost_when_everything_is_killed_at_once
server dies in the middle of a step         test_a_worker_whose_server_died_before_it_could_note_it_is_found_by_its_lock,
                                            test_a_job_whose_server_died_before_it_was_in_the_list_is_not_lost,
                                            test_a_job_whose_server_died_while_it_was_deleted_does_not_come_back
no file in the place of one                 test_what_is_no_file_keeps_nobody_waiting,
                                            test_a_lock_that_leads_elsewhere_is_held_by_nobody
number of a process given again             test_a_number_that_was_given_again_is_another_process
lock file that names a stranger             test_no_stranger_is_signalled_though_the_lock_file_names_him
two workers at one job                      test_a_job_is_never_written_by_two_workers,
                                            test_a_worker_that_lets_go_of_its_lock_is_not_joined_by_another
worker stopped (SIGSTOP)                    test_a_worker_that_is_stopped_is_told_of_and_goes_on,
                                            test_a_stopped_worker_and_a_socket_that_is_cut_every_second
worker that says nothing                    test_who_says_nothing_and_does_nothing_is_stalled,
                                            test_who_says_nothing_and_computes_is_not_called_stalled
worker that ignores SIGTERM                 test_a_worker_that_ignores_the_request_to_stop_is_ended_by_force,
                                            test_a_training_that_hears_nothing_is_ended_by_force
memory                                      test_who_wants_too_much_memory_is_told_how_much_there_is,
                                            test_who_gets_memory_past_its_limit_is_ended,
                                            test_an_ending_is_told_in_words
disk full: snapshot                         test_a_snapshot_that_does_not_fit_waits_for_room_and_goes_on
disk full: events                           test_a_training_on_a_full_disk_waits_with_all_that_it_has_learnt,
                                            test_a_line_that_the_disk_takes_half_of_is_taken_back
disk full: list of jobs                     test_what_becomes_of_jobs_is_known_on_a_full_disk
disk full: dataset                          test_a_database_that_does_not_fit_leaves_nothing_and_the_next_job_is_done
disk full: form                             test_a_job_that_cannot_be_kept_is_not_made_and_its_form_is
disk read-only                              test_a_disk_that_becomes_read_only_loses_nothing,
                                            test_a_data_directory_on_a_disk_that_is_read_only_is_refused,
                                            test_a_data_directory_that_may_not_be_written
torn last line of events                    test_half_a_line_is_not_read,
                                            test_the_next_writer_drops_half_a_line_and_nothing_else
events cut by a loss of power               test_events_that_a_loss_of_power_has_cut_are_read_again
snapshot truncated or with a bit flipped    test_after_a_damaged_snapshot_it_goes_on_from_the_one_before,
                                            test_one_flipped_bit_of_the_weights_is_seen_when_a_snapshot_is_loaded
list of jobs damaged or lost                test_a_damaged_list_of_jobs_is_made_anew_from_their_folders,
                                            test_jobs_that_had_not_ended_are_queued_again_when_the_list_is_lost
list of jobs with one bit flipped           test_one_flipped_bit_of_the_list_of_jobs_loses_none_of_them
words of the list, or days, made others     test_a_name_that_is_no_text_any_more_is_damage,
                                            test_a_day_that_is_none_is_damage
accounts damaged, or their log lost         test_a_file_of_accounts_that_is_damaged_is_told_and_left_alone,
                                            test_accounts_are_there_without_the_log_of_their_file
list of jobs lost while a job rests         test_what_rests_does_not_begin_by_itself_when_the_list_is_lost
list of jobs older than the job folders     test_a_dataset_that_is_done_is_not_made_again_when_an_older_list_is_put_back,
                                            test_what_rests_does_not_begin_by_itself_when_an_older_list_is_put_back,
                                            test_a_worker_that_an_older_list_does_not_know_is_heard,
                                            test_a_training_that_went_on_and_ended_is_done_when_an_older_list_is_put_back,
                                            test_a_worker_clears_no_folder_of_a_dataset_that_is_done_whatever_the_list_says
log of the list of jobs lost                test_states_that_were_lost_with_the_log_of_the_list_are_found_in_the_folders
two servers on one data directory           test_a_second_server_on_one_data_directory_is_refused
port taken                                  test_a_port_in_use
clock set back                              test_a_clock_that_is_set_back_loses_no_job
1,000 queued jobs                           test_a_thousand_jobs_wait_and_are_aborted
200 open pages                              test_two_hundred_open_pages_hear_all_and_the_server_answers
more open pages than threads                test_a_page_too_many_gets_no_socket_until_another_closes
socket cut every second                     test_a_stopped_worker_and_a_socket_that_is_cut_every_second
data directory moved                        test_a_data_directory_works_in_another_place
data directory of an older version          test_a_data_directory_of_the_first_version_opens
exception in the network                    test_a_network_with_a_shape_error_ends_its_job_at_the_line
network that ends its process               test_a_network_that_ends_its_training_is_an_error_in_words
endless loop in the network                 test_a_network_that_loops_for_ever_is_given_up,
                                            test_a_training_that_hears_nothing_is_ended_by_force
fork bomb in the network                    test_a_pasted_network_cannot_get_out
answers without an end or a question        test_nobody_fills_the_memory_of_the_server,
                                            test_an_answer_ahead_of_its_question_is_handed_to_nobody,
                                            test_a_check_ends_whatever_the_process_does_to_its_answers
process that reads no question              test_a_child_that_reads_nothing_keeps_nobody_waiting
many checks at a time                       test_checks_wait_for_their_turn_and_can_be_ended_before
much output of the network                  test_a_network_that_prints_a_lot_trains_and_its_log_comes_in_pages,
                                            test_a_network_that_prints_a_gigabyte_fills_no_disk,
                                            test_a_log_that_is_too_long_keeps_its_beginning_and_its_end
form changed by the network                 test_a_training_whose_spec_was_changed_does_not_begin
no containment to be had                    test_a_child_that_must_be_contained_does_nothing_where_it_cannot
"""
